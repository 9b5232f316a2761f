"""Types for signatures: an open session with Postgres, and a row of its results.

A session that the caller opened and a session that a pool lends have the same methods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from asyncpg import Record as Row

if TYPE_CHECKING:
    from asyncpg import Connection
    from asyncpg.pool import PoolConnectionProxy

__all__ = ["LentSession", "OwnSession", "Row", "Session", "fetch_one"]

# Strings, since asyncpg's classes are not generic at run time.
OwnSession: TypeAlias = "Connection[Row]"
LentSession: TypeAlias = "PoolConnectionProxy[Row]"
Session: TypeAlias = "OwnSession | LentSession"


async def fetch_one(session: Session, statement: str, *arguments: object) -> Row:
    """Return the row of a statement that always returns one."""
    row = await session.fetchrow(statement, *arguments)
    assert row is not None, statement
    return row
