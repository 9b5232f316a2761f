"""What may go wrong outside of this process, and is waited out; anything else is a bug and ends it."""

from __future__ import annotations

import asyncpg

from realtime.errors import RealtimeError


class LostPlace(RealtimeError):
    """The feed is not where this notifier left it: somebody moves it, or a dump was restored."""

    def __init__(self, expected: str, found: str | None) -> None:
        super().__init__(expected, found)
        self.expected = expected
        self.found = found

    def __str__(self) -> str:
        return f"the feed stands at batch {self.found!r} instead of {self.expected!r}"


class NoFeed(RealtimeError):
    """Schema realtime does not have its one feed: a dump is being restored, or was restored beside it."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count

    def __str__(self) -> str:
        return f"schema realtime has {self.count} feeds instead of one"


FAULTS = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    RealtimeError,
)
