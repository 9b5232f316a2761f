"""A server program as a child process: find it in its wheel, start it, wait for it, stop it, clean up.

`postgres.py` and `valkey.py` use it, and know the servers' files. This module knows neither protocol.
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

READY_SECONDS = 120  # includes the recovery after a crash
POLL_SECONDS = 0.02
LOG_LINES = 20
LOG_BYTES = 8192  # read from the end of the log to find its last lines

# Each step is a signal, and the seconds to wait before the next signal is sent.
Steps = Iterable[tuple[Signals, float]]


def program(wheel: str, package: str, path: str) -> Path:
    """Find a program inside an installed wheel, without importing it. Raises `WheelMissing`."""
    spec = find_spec(package)
    for location in (spec and spec.submodule_search_locations) or ():
        if (found := Path(location, path)).is_file():
            return found
    raise WheelMissing(Path(path).name, wheel)


class ServerProcess:
    """One run of a program, in its `data` directory and as the owner of that directory."""

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
        """Start a program that the terminal's Ctrl-C does not reach; `dies_by` stops it if we are killed."""
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
        """Wait until the program ends for any reason, and return its status; a signal is negative."""
        return await self._process.wait()

    async def wait_ready(self, ready: Callable[[], Awaitable[bool]]) -> None:
        """Wait until `ready` returns True. Raises `ServerFailed` if the program ends or takes too long."""

        async def settled() -> bool:
            return not self.running or await ready()

        if not await until(settled, READY_SECONDS):
            raise self.failed(f"was not ready after {READY_SECONDS} seconds")
        if not self.running:
            raise self.failed(f"ended with status {self._process.returncode} before it was ready")

    async def stop(self, steps: Steps) -> None:
        """Send the signals of the steps, one after the other, until the program has ended."""
        await stop(self.pid, lambda: self.running, steps)
        await self._process.wait()

    def failed(self, reason: str) -> ServerFailed:
        """Return an error with the reason and the end of the log."""
        with self._log.open("rb") as file:
            file.seek(max(0, self._log.stat().st_size - LOG_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
        return ServerFailed(self._name, reason, "\n".join(lines[-LOG_LINES:]))


async def stop_leftover(pid_file: Path, mark: str, steps: Steps) -> None:
    """Stop the server that a killed run left behind, and remove its pid file.

    Only that server has `mark` in its command line, so another process with the same pid is left alone.
    """
    if pid := _read_pid(pid_file):
        await stop(pid, lambda: f"{mark} " in f"{_command_line(pid)} ", steps)
    _remove(pid_file)


async def stop(pid: int, alive: Callable[[], bool], steps: Steps) -> None:
    """Send the signals, one after the other, until the process is no longer alive."""

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
    """Return True as soon as the condition holds, False if it does not hold in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                if await condition():
                    return True
                await asyncio.sleep(POLL_SECONDS)
    return False


def _open_log(log: Path) -> int:
    # O_APPEND, since an orphan of an earlier run may still write to the log.
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
    """Return the command line of a process, or "" if the process has ended, reaped or not."""
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return ""
    listing = ("/bin/ps", "-ww", "-o", "command=", "-p", str(pid))
    return subprocess.run(listing, capture_output=True, text=True, check=False).stdout.strip()
