"""Several processes of this program as one: started together, ended together.

Used by `realtime dev` and by `gateway --workers`. A child that ends by itself ends all; children do not
outlive a parent that is killed (on Linux).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from realtime.dev import unprivileged
from realtime.errors import RealtimeError

STOP_SECONDS = 10.0  # between SIGTERM and SIGKILL, beside what a child may take to drain


class ChildEnded(RealtimeError):
    """A process that was to run for ever has ended."""

    def __init__(self, name: str, status: int) -> None:
        super().__init__(name, status)
        self.name = name
        self.status = status

    def __str__(self) -> str:
        return f"realtime {self.name} ended with status {self.status}"


@asynccontextmanager
async def processes(
    commands: Sequence[Sequence[str]], stop_seconds: float = STOP_SECONDS
) -> AsyncIterator[None]:
    """Run `realtime COMMAND…` for each while the block runs; raises ChildEnded into it if one ends.

    In the end each is told to stop, and has `stop_seconds` for it.
    """
    children: list[Process] = []
    try:
        for command in commands:
            children.append(await _start(command))
        async with asyncio.TaskGroup() as tasks:
            watchers = [
                tasks.create_task(_watch(command[0], child), name=f"watch {command[0]}")
                for command, child in zip(commands, children, strict=True)
            ]
            yield
            for watcher in watchers:
                watcher.cancel()
    finally:
        await asyncio.gather(*(_stop(child, stop_seconds) for child in children))


async def _start(command: Sequence[str]) -> Process:
    here = Path.cwd()
    wrapper = (unprivileged.__file__, str(os.getpid()), str(int(signal.SIGTERM)), str(here))
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", *wrapper, sys.executable, "-m", "realtime", *command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )


async def _watch(name: str, child: Process) -> None:
    raise ChildEnded(name, await child.wait())


async def _stop(child: Process, seconds: float) -> None:
    with suppress(ProcessLookupError):
        child.terminate()
    try:
        async with asyncio.timeout(seconds):
            await child.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()
