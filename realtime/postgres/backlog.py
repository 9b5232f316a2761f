"""Count the changes that wait in a project's outbox."""

from __future__ import annotations

from dataclasses import dataclass

from realtime.postgres.pool import transaction
from realtime.postgres.session import Session, fetch_one
from realtime.resources import packaged_text

COUNTED = 100_000  # a longer backlog is reported as this many changes

_QUERY = packaged_text(__package__, "sql/backlog.sql")


@dataclass(frozen=True, slots=True)
class Backlog:
    """Number of changes not known to be published, at most COUNTED, and the age of the oldest in seconds."""

    pending: int
    lag_seconds: float


async def read_backlog(connection: Session) -> Backlog:
    """Read the backlog of the project's database; it is 0 if the schema is not installed."""
    if not await connection.fetchval("select to_regclass('realtime.feed') is not null"):
        return Backlog(0, 0.0)
    async with transaction(connection, readonly=True):
        # Outdated statistics must not make Postgres read the whole table.
        await connection.execute("set local enable_seqscan = off; set local jit = off")
        row = await fetch_one(connection, _QUERY, COUNTED)
    return Backlog(row["pending"], round(row["lag_seconds"], 3))
