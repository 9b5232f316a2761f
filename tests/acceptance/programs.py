"""`realtime` commands as processes of their own, as a person at a terminal or a supervisor runs them.

What they print is read while they run, and what they log is looked through at the end: no command may show
a traceback or a token there. Processes are stopped by their number, never by a name.
"""

from __future__ import annotations

import asyncio
import json
import os
import pty
import random
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import aiohttp

from realtime.dev.postgres import postgres_program
from tests.condition import Condition
from tests.gateway_fixture import Client, eventually
from tests.ports import free_port

REALTIME = Path(sys.executable).with_name("realtime")
START_SECONDS = 60.0  # for a command to do what it is waited for, on a busy machine
NOTHING: Mapping[str, str] = {}

Terminal = bool | Literal["all"]  # whether it prints to a terminal; "all": its log goes there, too


class Program:
    """A command that was started: `lines` is what it printed so far, `errors` what it logged."""

    def __init__(
        self, *words: object, directory: Path, environment: Mapping[str, str], terminal: Terminal
    ) -> None:
        self.words = [str(word) for word in words]
        self.directory = directory
        self._printed = b""
        self._log = directory / f"{self.words[0]}-{random.randrange(10**9)}.log"
        self._output, its_output = pty.openpty() if terminal else os.pipe()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [REALTIME, *self.words],
                cwd=directory,
                env=clean_environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=its_output,
                stderr=its_output if terminal == "all" else log,
            )
        os.close(its_output)
        os.set_blocking(self._output, False)

    def __repr__(self) -> str:
        return f"<Program {' '.join(self.words)}: {self.errors[-3000:]}>"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def lines(self) -> list[str]:
        self._read()
        return [line.rstrip("\r") for line in self._printed.decode().split("\n")[:-1]]

    def _read(self) -> None:
        # EIO is how a terminal says that nobody writes to it any more.
        with suppress(OSError):
            while piece := os.read(self._output, 65_536):
                self._printed += piece

    @property
    def events(self) -> list[dict[str, Any]]:
        """The lines, each of which is JSON."""
        return [json.loads(line) for line in self.lines]

    @property
    def errors(self) -> str:
        return self._log.read_text()

    @property
    def log(self) -> list[dict[str, Any]]:
        """What it logged so far, as JSON, since it writes to a file; complaints to a person are left out."""
        lines = self.errors.split("\n")[:-1]
        return [json.loads(line) for line in lines if line.startswith("{")]

    @property
    def status(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll()

    async def does(self, true: Condition) -> None:
        """Wait until something is true, as long as it runs."""

        async def settled() -> bool:
            found = true()
            if bool(await found if isinstance(found, Awaitable) else found):
                return True
            assert self.status is None, f"{self!r} ended with {self.status}"
            return False

        await eventually(settled, START_SECONDS)

    async def says(self, words: str, times: int = 1) -> None:
        """Wait until it logged something."""
        await self.does(lambda: self.errors.count(words) >= times)

    async def tells(self, event: str, times: int = 1, **facts: Any) -> list[dict[str, Any]]:
        """Wait until it logged an event with these facts so often, and return all of them."""

        def told() -> list[dict[str, Any]]:
            return [one for one in self.log if one["event"] == event and one.items() >= facts.items()]

        await self.does(lambda: len(told()) >= times)
        return told()

    async def prints(self, count: int) -> list[str]:
        """Wait until it printed so many lines, and return all."""
        await self.does(lambda: len(self.lines) >= count)
        return self.lines

    async def ends(self) -> int:
        """Wait until it ends; return its status."""
        await eventually(lambda: self.status is not None, START_SECONDS)
        assert self.status is not None
        return self.status

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal, wait until it ends; return its status."""
        self.send(number)
        return await self.ends()

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def pause_terminal(self) -> None:
        """Press Ctrl-S: the terminal takes nothing more."""
        os.write(self._output, b"\x13")

    async def clean_up(self) -> None:
        """Leave nothing behind, however the test went."""
        try:
            await self.stop()
        finally:
            self._process.kill()
            self._process.wait()
            self._read()
            os.close(self._output)
            self._output = -1


def clean_environment(more: Mapping[str, str] = NOTHING) -> dict[str, str]:
    """What a process inherits: nothing that would be a setting of ours, unless the test says so."""
    foreign = ("REALTIME_", "LOG_", "PG", "PYTEST_", "COLUMNS")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | dict(more)


@asynccontextmanager
async def running(
    *words: object, directory: Path, environment: Mapping[str, str] = NOTHING, terminal: Terminal = False
) -> AsyncIterator[Program]:
    """Run `realtime WORDS…` in the directory while the block runs."""
    program = Program(*words, directory=directory, environment=environment, terminal=terminal)
    try:
        yield program
    finally:
        await program.clean_up()
    assert "Traceback" not in program.errors, program
    assert not re.search(r"eyJ\w+\.", program.errors), program


async def run(*words: object, directory: Path, environment: Mapping[str, str] = NOTHING) -> Program:
    """Run `realtime WORDS…` to its end."""
    async with running(*words, directory=directory, environment=environment) as program:
        await program.ends()
    return program


@dataclass(kw_only=True)
class Dev:
    """A `realtime dev` that is ready, and what its line of JSON says."""

    program: Program
    url: str
    token: str
    service_token: str
    database_url: str
    redis_url: str
    dashboard: str

    def client(self) -> AbstractAsyncContextManager[Client]:
        return client_of(self.url, self.token)

    async def psql(self, statement: str) -> str:
        return await psql(self.database_url, statement)


@asynccontextmanager
async def running_dev(directory: Path, *more: object, port: int | None = None) -> AsyncIterator[Dev]:
    """Run `realtime dev --json` with its data below the directory, and wait until it is ready."""
    words = ("dev", "--json", "--data-dir", directory / "data", "--port", port or free_port())
    async with running(*words, *more, directory=directory) as program:
        (line,) = await program.prints(1)
        yield Dev(program=program, **json.loads(line))


@asynccontextmanager
async def client_of(url: str, token: str, project: str = "demo") -> AsyncIterator[Client]:
    """Open a WebSocket and get in."""
    address = f"{url}/projects/{project}/realtime/ws?token={token}"
    async with aiohttp.ClientSession() as http, http.ws_connect(address, max_msg_size=0) as web_socket:
        client = Client(web_socket)
        client.connected = await client.hear()
        assert client.connected["type"] == "connected", client.connected
        yield client


async def psql(database_url: str, statement: str) -> str:
    """Carry out a statement by psql; return what it printed."""
    program = postgres_program("psql")
    command = (program, "--no-psqlrc", "--tuples-only", "--no-align", "--command", statement, database_url)
    done = await asyncio.to_thread(
        subprocess.run, command, env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and those that they started."""
    return [one for child in _children(pid) for one in (child, *descendants(child))]


def _children(pid: int) -> list[int]:
    found: list[int] = []
    # The process, or a thread of it, may end while we look.
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                found += map(int, (task / "children").read_text().split())
    return found


def is_gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def all_gone(pids: list[int]) -> None:
    """Wait until none of the processes is left."""
    await eventually(lambda: all(map(is_gone, pids)), START_SECONDS)


def command_of(pid: int) -> str:
    """The words of a process's command; none if it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


def memory_mib(pid: int, what: str = "VmHWM") -> float:
    """The most memory that a process had so far, or `VmRSS`: what it has now."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{what}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found, status
    return int(found[1]) / 1024
