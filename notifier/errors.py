"""Known failures outside of this process: a project's feed retries after each of them.

The feed also retries after any other exception, but logs that one with its traceback.
"""

from __future__ import annotations

import asyncpg

from realtime.errors import RealtimeError, Unavailable


class FeedMoved(RealtimeError):
    """The feed is not where this notifier left it: another session moved it, or a dump was restored."""

    def __init__(self, expected: str, found: str | None) -> None:
        super().__init__(expected, found)
        self.expected = expected
        self.found = found

    def __str__(self) -> str:
        return f"the feed stands at batch {self.found!r} instead of {self.expected!r}"


class NoFeed(RealtimeError):
    """Schema realtime does not have exactly one feed: a dump is being restored, or was restored beside it."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count

    def __str__(self) -> str:
        return f"schema realtime has {self.count} feeds instead of one"


class RowsMoved(RealtimeError):
    """Rows of a batch are no longer in their places: the outbox was written anew, or was emptied."""

    def __str__(self) -> str:
        return "rows of a batch have moved in the outbox: the feed is loaded again"


class UnreadableBatch(RealtimeError):
    """A batch was stored, and its rows cannot be read as the text that the database takes them for."""

    def __init__(self, token: str) -> None:
        super().__init__(token)
        self.token = token

    def __str__(self) -> str:
        return f"batch {self.token!r} has damaged text: the feed is loaded again, and leaves it out"


# The database or Redis cannot be reached, or was lost, or another notifier has taken the feed over, or the
# feed has to be loaded again. On any other error the database answers, but schema `realtime` is not as it
# should be, or this role may not use it.
AWAY = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.TooManyConnectionsError,
    asyncpg.OperatorInterventionError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    Unavailable,
    FeedMoved,
    RowsMoved,
    UnreadableBatch,
)

# What reading an outbox row raises if the row is not text (in a database whose encoding is not UTF8) or is
# damaged on disk. Every retry would fail in the same way, so the row is left out.
UNREADABLE = (UnicodeDecodeError, asyncpg.DataError, asyncpg.DataCorruptedError)

KNOWN_FAILURES = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    RealtimeError,
)
