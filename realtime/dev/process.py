"""A server program as a child process: found in its wheel, started, waited for, stopped, and swept up after.

Used by `postgres.py` and `valkey.py`, which know what is in their files. Never knows either protocol.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from signal import Signals

from realtime.dev.errors import ServerFailed, WheelMissing
from realtime.process import child

READY_SECONDS = 120  # a recovery after a crash is part of it
POLL_SECONDS = 0.02
LOG_LINES = 20
LOG_BYTES = 8192  # of the end of the log, to look for its last lines in

# A signal and the seconds that it gets before the next one is sent.
Steps = Iterable[tuple[Signals, float]]


def program(wheel: str, package: str, path: str) -> Path:
    """Find a program inside an installed wheel, without importing it. Raises `WheelMissing`."""
    spec = find_spec(package)
    for location in (spec and spec.submodule_search_locations) or ():
        if (found := Path(location, path)).is_file():
            return found
    raise WheelMissing(Path(path).name, wheel)


class ServerProcess:
    """One run of a program; `data` is the directory that it works in and as whose owner it runs."""

    def __init__(self, process: Process, name: str, log: Path) -> None:
        self._process = process
        self._name = name
        self._log = log

    def __repr__(self) -> str:
        state = "running" if self.running else f"ended with {self._process.returncode}"
        return f"<ServerProcess {self._name} pid {self.pid}, {state}>"

    @classmethod
    async def start(
        cls, command: Iterable[str | Path], *, data: Path, log: Path, dies_by: Signals
    ) -> ServerProcess:
        """Start a program, out of reach of the terminal's Ctrl-C; `dies_by` stops it when we are killed."""
        path, *arguments = (str(word) for word in command)
        wrapper = (sys.executable, "-I", "-S", child.__file__, str(os.getpid()), str(int(dies_by)))
        output = _open_log(log)
        try:
            process = await asyncio.create_subprocess_exec(
                *wrapper,
                str(data),
                path,
                *arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "LC_ALL": "C"},
                start_new_session=True,
            )
        finally:
            os.close(output)
        return cls(process, Path(path).name, log)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def wait(self) -> int:
        """Wait until it ends, for whatever reason, and return its status; negative is a signal."""
        return await self._process.wait()

    async def wait_ready(self, ready: Callable[[], Awaitable[bool]]) -> None:
        """Wait until `ready` says so. Raises `ServerFailed`."""

        async def settled() -> bool:
            return not self.running or await ready()

        if not await until(settled, READY_SECONDS):
            raise self.failed(f"was not ready after {READY_SECONDS} seconds")
        if not self.running:
            raise self.failed(f"ended with status {self._process.returncode} before it was ready")

    async def stop(self, steps: Steps) -> None:
        """End it by the first of the signals that does."""
        await stop(self.pid, lambda: self.running, steps)
        await self._process.wait()

    def failed(self, reason: str) -> ServerFailed:
        """Make the error that shows the end of the log."""
        with self._log.open("rb") as file:
            file.seek(max(0, self._log.stat().st_size - LOG_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
        return ServerFailed(self._name, reason, "\n".join(lines[-LOG_LINES:]))


async def stop_leftover(pid_file: Path, mark: str, steps: Steps) -> None:
    """Stop what a killed run left behind, and remove its pid file.

    `mark` is in the command line of that server only, so that a stranger with its number is left alone.
    """
    if pid := _read_pid(pid_file):
        await stop(pid, lambda: f"{mark} " in f"{_command_line(pid)} ", steps)
    _remove(pid_file)


async def stop(pid: int, alive: Callable[[], bool], steps: Steps) -> None:
    """Send one signal after the other until the process is no longer alive."""

    async def gone() -> bool:
        return not alive()

    for number, seconds in steps:
        if not alive():
            return
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        if await until(gone, seconds):
            return


async def until(condition: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    """Return True as soon as the condition holds, False if it did not in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                if await condition():
                    return True
                await asyncio.sleep(POLL_SECONDS)
    return False


def _open_log(log: Path) -> int:
    # Appending, since an orphan of an earlier run may still write to it.
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)


def _read_pid(pid_file: Path) -> int | None:
    try:
        first, *_ = pid_file.read_text(errors="replace").split()
        return int(first)
    except (FileNotFoundError, ValueError):
        return None


def _remove(pid_file: Path) -> None:
    pid_file.unlink(missing_ok=True)


def _command_line(pid: int) -> str:
    """Return the words of a process's command, or nothing if it has ended, reaped or not."""
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return ""
    listing = ("/bin/ps", "-ww", "-o", "command=", "-p", str(pid))
    return subprocess.run(listing, capture_output=True, text=True, check=False).stdout.strip()
