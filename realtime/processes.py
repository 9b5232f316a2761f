"""Several processes of this program as one: started together, kept alive, ended together.

Used by `realtime dev` and by `gateway --workers`. A child that ends is started again; one that cannot stay
ends all. Children do not outlive a parent that is killed (on Linux).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from realtime.dev import unprivileged
from realtime.errors import RealtimeError

logger = logging.getLogger(__name__)

STOP_SECONDS = 10.0  # between SIGTERM and SIGKILL, beside what a child may take to drain
RESTART_SECONDS = 1.0  # between the end of a child and its next start
YOUNG_SECONDS = 5.0  # a child that ends sooner did not stay
MOST_YOUNG_ENDS = 3  # in a row; the next start would go the same way


class ChildEnded(RealtimeError):
    """A process that was to run for ever has ended, and starting it again is of no use."""

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
    """Run `realtime COMMAND…` for each while the block runs; raises ChildEnded into it if one cannot stay.

    In the end each is told to stop, and has `stop_seconds` for it.
    """
    async with asyncio.TaskGroup() as tasks:
        keepers = [
            tasks.create_task(_keep(command, stop_seconds), name=f"keep {command[0]}") for command in commands
        ]
        yield
        for keeper in keepers:
            keeper.cancel()


async def _keep(command: Sequence[str], stop_seconds: float) -> None:
    """Run a command again whenever it ends, until cancelled; raises ChildEnded."""
    clock = asyncio.get_running_loop()
    young_ends = 0
    while True:
        started = clock.time()
        pid, status = await _run(command, stop_seconds)
        is_young = clock.time() - started < YOUNG_SECONDS
        young_ends = young_ends + 1 if is_young else 0
        # A status of its own so soon is a wrong setting or a taken port, of which it has told.
        if (is_young and status > 0) or young_ends == MOST_YOUNG_ENDS:
            raise ChildEnded(command[0], status)
        logger.warning(
            "realtime %s (pid %d) ended with status %d; starting it again", command[0], pid, status
        )
        await asyncio.sleep(RESTART_SECONDS)


async def _run(command: Sequence[str], stop_seconds: float) -> tuple[int, int]:
    """Run a command once; return its pid and its status, negative for a signal. Cancelled, stop it."""
    child = await _start(command)
    try:
        return child.pid, await child.wait()
    finally:
        await _stop(child, stop_seconds)


async def _start(command: Sequence[str]) -> Process:
    here = Path.cwd()
    wrapper = (unprivileged.__file__, str(os.getpid()), str(int(signal.SIGTERM)), str(here))
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
