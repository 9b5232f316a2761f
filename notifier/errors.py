"""What may go wrong outside of this process, and is waited out as it is known.

Anything else that a project's feed raises is waited out too, but it is logged with its traceback.
"""

from __future__ import annotations

import asyncpg

from realtime.errors import RealtimeError, Unavailable


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


# A database that cannot be reached, or is lost, and a feed that another notifier has taken on. Where anything
# else is wrong, the database answers, and schema `realtime` is not as it should be, or may not be used.
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
    LostPlace,
)

# What reading a row of the outbox raises that is no text, or that a disk has lost a part of. It would do so
# for ever: the row is left out. Of databases whose encoding is not UTF8, or of broken ones.
UNREADABLE = (UnicodeDecodeError, asyncpg.DataError, asyncpg.DataCorruptedError)

FAULTS = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    RealtimeError,
)
