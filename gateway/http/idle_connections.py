"""Connections without a request to answer: when there are too many, the longest waiting are aborted.

A connection waits before its first request, between two requests, and with half a request. A client with many
waiting connections takes file descriptors from all other clients, and asks for nothing.
"""

from __future__ import annotations

import resource
from typing import Protocol

MOST = 8_192  # connections that wait at a time; when thousands of clients connect at once, each waits briefly
SHARE_OF_FILES = 2  # one of so many files that the process may open may be a waiting connection


class Idle(Protocol):
    """A connection that can be aborted."""

    def abort(self) -> None: ...


class IdleConnections:
    """The connections that wait, the longest waiting first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[Idle, None] = {}

    def __repr__(self) -> str:
        return f"<IdleConnections {len(self._waiting)} of {self._most}>"

    def enter(self, connection: Idle) -> None:
        """Add a waiting connection; abort the one that waits longest if there are too many."""
        self._waiting[connection] = None
        if len(self._waiting) > self._most:
            longest = next(iter(self._waiting))
            del self._waiting[longest]
            longest.abort()

    def leave(self, connection: Idle) -> None:
        self._waiting.pop(connection, None)


def most_waiting() -> int:
    """Return how many connections may wait in this process."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if files == resource.RLIM_INFINITY else min(MOST, files // SHARE_OF_FILES)
