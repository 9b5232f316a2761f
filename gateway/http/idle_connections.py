"""Connections that have nothing in hand: the longest waiting go when there are too many.

A connection waits before its first request, between two, and with half a request. Whoever holds many of these
takes files from all others, and asks for nothing.
"""

from __future__ import annotations

import resource
from typing import Protocol

MOST = 8_192  # connections that wait at a time; thousands of clients that come at once wait for milliseconds
SHARE_OF_FILES = 2  # one in so many that the process may open, where that is less


class Idle(Protocol):
    """A connection that can be ended."""

    def abort(self) -> None: ...


class IdleConnections:
    """Those that wait, the longest waiting first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[Idle, None] = {}

    def __repr__(self) -> str:
        return f"<IdleConnections {len(self._waiting)} of {self._most}>"

    def enter(self, connection: Idle) -> None:
        """Let a connection wait; ends the one that waits longest where there is no room."""
        self._waiting[connection] = None
        if len(self._waiting) > self._most:
            longest = next(iter(self._waiting))
            del self._waiting[longest]
            longest.abort()

    def leave(self, connection: Idle) -> None:
        self._waiting.pop(connection, None)


def most_waiting() -> int:
    """How many connections may wait in this process."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if files == resource.RLIM_INFINITY else min(MOST, files // SHARE_OF_FILES)
