"""Errors from the start of the embedded servers; their messages are for the person at the terminal.

RealtimeError
└── DevError
    ├── DirectoryInUse   another `realtime dev` uses the data directory
    ├── WheelMissing     the extra that brings the server programs is not installed
    └── ServerFailed     a server did not start; carries the end of its log
"""

from __future__ import annotations

from pathlib import Path

from realtime.errors import RealtimeError


class DevError(RealtimeError):
    """The embedded servers cannot be started, or have ended."""


class DirectoryInUse(DevError):
    """Another process holds the lock of the data directory; `pid` is None until it has written its pid."""

    def __init__(self, directory: Path, pid: int | None) -> None:
        super().__init__(directory, pid)
        self.directory = directory
        self.pid = pid

    def __str__(self) -> str:
        who = f" (pid {self.pid})" if self.pid else ""
        return f"another realtime dev{who} uses {self.directory}"


class WheelMissing(DevError):
    """A server program is not at its path inside the wheel, or the wheel is not installed."""

    def __init__(self, program: str, wheel: str) -> None:
        super().__init__(program, wheel)
        self.program = program
        self.wheel = wheel

    def __str__(self) -> str:
        return f'no {self.program} from {self.wheel} here: pip install "realtime-server[dev]"'


class ServerFailed(DevError):
    """A server ended, or was not ready in time; `log` holds the last lines of its log."""

    def __init__(self, program: str, reason: str, log: str) -> None:
        super().__init__(program, reason, log)
        self.program = program
        self.reason = reason
        self.log = log

    def __str__(self) -> str:
        return f"{self.program} {self.reason}; its log ends:\n{self.log or '(nothing)'}"
