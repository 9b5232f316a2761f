"""Runs several processes of this program as one: starts them together, restarts them, ends them together.

`realtime dev` and `gateway --workers` use it. A child that ends is restarted; a child that cannot stay up
ends all children. On Linux, children do not outlive a parent that is killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from realtime.errors import RealtimeError
from realtime.logs.setup import get_logger
from realtime.process import child as child_script

log = get_logger(__name__)

MOST_YOUNG_ENDS = 3  # in a row; the next start would fail in the same way


@dataclass(frozen=True, slots=True)
class ChildTimings:
    """How long the supervisor waits for a child."""

    stop_seconds: float = 10.0  # between SIGTERM and SIGKILL, in addition to the time in which a child drains
    restart_seconds: float = 1.0  # between the end of a child and its next start
    young_seconds: float = 5.0  # a child that ends sooner has not stayed up


DEFAULTS = ChildTimings()


class ChildEnded(RealtimeError):
    """A process that should run for ever has ended, and a restart would not help."""

    def __init__(self, name: str, status: int) -> None:
        super().__init__(name, status)
        self.name = name
        self.status = status

    def __str__(self) -> str:
        return f"realtime {self.name} ended with status {self.status}"


class Children:
    """The processes that run now, without a child that waits for its restart."""

    def __init__(self) -> None:
        self.running: set[Process] = set()

    def send(self, number: signal.Signals) -> None:
        for child in self.running:
            with suppress(ProcessLookupError):
                child.send_signal(number)


@asynccontextmanager
async def processes(
    commands: Sequence[Sequence[str]], timings: ChildTimings = DEFAULTS
) -> AsyncIterator[Children]:
    """Run each `realtime COMMAND…` while the block runs; raises ChildEnded into it if one fails.

    At the end each child gets SIGTERM, and SIGKILL after `timings.stop_seconds`.
    """
    children = Children()
    async with asyncio.TaskGroup() as tasks:
        keepers = [
            tasks.create_task(_keep(command, timings, children), name=f"keep {command[0]}")
            for command in commands
        ]
        yield children
        for keeper in keepers:
            keeper.cancel()


async def _keep(command: Sequence[str], timings: ChildTimings, children: Children) -> None:
    """Run a command, and restart it whenever it ends, until cancelled; raises ChildEnded."""
    clock = asyncio.get_running_loop()
    young_ends = 0
    while True:
        started = clock.time()
        pid, status = await _run(command, timings.stop_seconds, children)
        is_young = clock.time() - started < timings.young_seconds
        # SIGHUP, sent to all, may end a child that does not handle it yet: its restart reads the settings.
        young_ends = young_ends + 1 if is_young and status != -signal.SIGHUP else 0
        # An early exit with a status is a wrong setting or a taken port, which the child has logged.
        if (is_young and status > 0) or young_ends == MOST_YOUNG_ENDS:
            raise ChildEnded(command[0], status)
        log.warning("child_restarted", command=command[0], child_pid=pid, status=status)
        await asyncio.sleep(timings.restart_seconds)


async def _run(command: Sequence[str], stop_seconds: float, children: Children) -> tuple[int, int]:
    """Run a command once; return its pid and status, negative for a signal. A cancellation stops it."""
    child = await _start(command)
    children.running.add(child)
    try:
        return child.pid, await child.wait()
    finally:
        children.running.discard(child)
        await _stop(child, stop_seconds)


async def _start(command: Sequence[str]) -> Process:
    here = Path.cwd()
    wrapper = (child_script.__file__, str(os.getpid()), str(int(signal.SIGTERM)), str(here))
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", *wrapper, sys.executable, "-m", "realtime", *command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )


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
