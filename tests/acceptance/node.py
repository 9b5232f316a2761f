"""Programs in Node as processes of their own, which speak in lines of JSON, and the runtimes to run them in.

They import the client that gateways serve, from a copy in a directory of the test.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.programs import START_SECONDS, clean_environment
from tests.condition import Condition
from tests.docs_fixture import ROOT
from tests.gateway_fixture import eventually

JAVASCRIPT = Path(__file__).with_name("javascript")
MODULES = ROOT / "clients" / "javascript" / "node_modules"
NEWEST = JAVASCRIPT / "newest" / "node_modules" / ".bin" / "node"
Event = dict[str, Any]


@dataclass(frozen=True)
class Runtime:
    """A Node, and the module whose WebSocket it is given; its own WebSocket without one."""

    program: str
    ws: str | None


def missing(what: str) -> Any:
    """Skip on a user's machine; only CI insists on programs that are not ours."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(what)


def node_with_ws() -> Runtime:
    """The Node of this machine with the package `ws`."""
    program = shutil.which("node")
    if program is None:
        missing("there is no node on this machine; 20 or newer is needed")
    ws = MODULES / "ws" / "wrapper.mjs"
    if not ws.exists():
        missing("the client's development packages are not installed: make client")
    return Runtime(str(program), ws.as_uri())


def newest_node() -> Runtime:
    """The newest Node of npm, which has a WebSocket of its own."""
    if not NEWEST.exists():
        missing("the newest Node is not installed: make newest-node")
    return Runtime(str(NEWEST), None)


@dataclass
class NodeProgram:
    """A program that runs: `events` are the lines of JSON that it printed."""

    process: asyncio.subprocess.Process
    log: Path
    answer: Callable[[Event], None] = lambda _: None  # is given each event as it comes
    events: list[Event] = field(default_factory=list)

    def __repr__(self) -> str:
        last = "\n".join(json.dumps(one) for one in self.events[-200:] if one.get("kind") != "change")
        return f"<NodeProgram {self.process.returncode}: {self.log.read_text()[-3000:]}\n{last}>"

    def say(self, **words: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(words).encode() + b"\n")

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            event = json.loads(line)
            self.events.append(event)
            self.answer(event)

    async def does(self, true: Condition, seconds: float = START_SECONDS) -> Any:
        """Wait until something is true, as long as it runs; return what it was then."""

        def settled() -> Any:
            found = true()
            assert found or self.process.returncode is None, self
            return found

        try:
            return await eventually(settled, seconds)
        except TimeoutError as error:
            error.add_note(repr(self))
            raise

    async def ends(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        async with asyncio.timeout(START_SECONDS):
            return await self.process.wait()


@asynccontextmanager
async def running_node(
    runtime: Runtime, script: Path, directory: Path, *flags: str, **facts: Any
) -> AsyncIterator[NodeProgram]:
    """Run a program of ours with these facts; it ends by itself with its input, and without an error."""
    client = directory / "realtime.mjs"
    shutil.copyfile(ROOT / "gateway" / "static" / "realtime.js", client)
    facts = {"client": client.as_uri(), "ws": runtime.ws, **facts}
    log = directory / f"{script.stem}.log"
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *(runtime.program, *flags, str(script), json.dumps(facts)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env=clean_environment(),
        )
    program = NodeProgram(process, log)
    reading = asyncio.create_task(program.read())
    try:
        yield program
        assert await program.ends() == 0, program
        await reading
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        reading.cancel()
        await asyncio.wait([reading])
