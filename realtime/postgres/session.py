"""What an open session with Postgres, and a row of its answer, are called in signatures.

A session of one's own and one that a pool lends can do the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from asyncpg import Record as Row

if TYPE_CHECKING:
    from asyncpg import Connection
    from asyncpg.pool import PoolConnectionProxy

__all__ = ["LentSession", "OwnSession", "Row", "Session", "fetch_one"]

# Texts, since asyncpg's classes take no parameter when the program runs.
OwnSession: TypeAlias = "Connection[Row]"
LentSession: TypeAlias = "PoolConnectionProxy[Row]"
Session: TypeAlias = "OwnSession | LentSession"


async def fetch_one(session: Session, statement: str, *arguments: object) -> Row:
    """Return the row of a statement that always has one."""
    row = await session.fetchrow(statement, *arguments)
    assert row is not None, statement
    return row
