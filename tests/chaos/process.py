"""A command of the service as a process that is killed, stopped, frozen and started again.

It is started as an operator's supervisor would start it, always with the same arguments. An unexpected end, a
traceback or a token in its log is a complaint. It is stopped by its process id, and never outlives this
process.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic

from realtime.process import child

AGAIN_SECONDS = 1.0  # before a process that ended unexpectedly is started again
BAR = re.compile(r"^ *\| ")
TOKEN = re.compile(r"eyJ\w+\.")


class Process:
    """One `realtime COMMAND…`; `complain` takes a sentence about what it did wrong."""

    def __init__(
        self,
        name: str,
        words: list[str],
        directory: Path,
        environment: Mapping[str, str],
        stop_seconds: float,
        complain: Callable[[str], None],
    ) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        self._command = [
            *(sys.executable, "-I", "-S", child.__file__, str(os.getpid()), str(int(signal.SIGKILL))),
            *(str(directory), sys.executable, "-m", "realtime", *words),
        ]
        self._environment = environment
        self._stop_seconds = stop_seconds  # within which it must end after SIGTERM
        self._complain = complain
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None  # sees it end by itself

    def __repr__(self) -> str:
        return f"<Process {self.name}>"

    async def start(self) -> None:
        """Start it; does not wait until it is ready."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self._environment),
                start_new_session=True,
            )
        self._watch = asyncio.create_task(self._keep(self._process), name=f"watch {self.name}")

    async def _keep(self, process: asyncio.subprocess.Process) -> None:
        status = await process.wait()
        self._complain(f"{self.name} ended by itself with status {status}")
        await asyncio.sleep(AGAIN_SECONDS)
        await self.start()

    async def kill(self) -> None:
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """Send SIGTERM; complain if it does not end, or ends with another status than 0."""
        status, seconds = await self._end(signal.SIGTERM)
        if seconds > self._stop_seconds:
            self._complain(f"{self.name} did not end within {self._stop_seconds} s of SIGTERM")
        elif status != 0:
            self._complain(f"{self.name} ended with status {status} after SIGTERM")

    async def _end(self, number: signal.Signals) -> tuple[int, float]:
        """Return its status and the seconds until its end."""
        if self._watch is not None:
            self._watch.cancel()
        process, started = self._process, monotonic()
        if process is None:
            return 0, 0.0
        self._process = None
        if process.returncode is None:
            process.send_signal(number)
        try:
            async with asyncio.timeout(self._stop_seconds):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            return -signal.SIGKILL, self._stop_seconds + 1
        return process.returncode or 0, monotonic() - started

    def freeze(self) -> None:
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    def look_through_log(self) -> None:
        """Complain of each traceback by its last line, and of a token."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        for traceback in _tracebacks(text):
            self._complain(f"{self.name} logged a traceback: {_last_line(traceback)}")
        if TOKEN.search(text):
            self._complain(f"{self.name} logged a token")


def _tracebacks(text: str) -> Iterator[str]:
    """Return the tracebacks in log records and on stderr; the last record may be incomplete."""
    for line in text.splitlines():
        with suppress(ValueError):
            if line.startswith("{") and "exception" in (record := json.loads(line)):
                yield record["exception"].partition("\n")[2]
    yield from text.split("Traceback (most recent call last):\n")[1:]


def _last_line(traceback: str) -> str:
    """Return the line below the frames, also of an exception in a group, whose lines begin with a bar."""
    for line in traceback.splitlines():
        line = BAR.sub("", line)
        if line and not line.startswith((" ", "+")):
            return line
    return "without an end"
