"""Deletes from the outbox what has been published, beside the feed and never in its way.

Any session may: what the stored S1 of the feed sees has been published whole, and nobody reads it again.
"""

from __future__ import annotations

from notifier.feed.snapshots import NOTHING, Snapshot, bounds, parse_snapshot, seen_since
from notifier.sessions import query
from realtime.postgres.pool import Database, transaction
from realtime.postgres.session import Session

PIECE_ROWS = 50_000  # deleted by one statement, so that none takes long

_FINISHED, _OLD_CHECKPOINTS = query("finished"), query("old_marks")

# A delete that a crash undoes is done again, so no commit waits for the disk.
_SESSION = "set local enable_seqscan = off; set local jit = off; set local synchronous_commit = off"


class OutboxCleanup:
    """Remembers how far it came: old rows stay visible to the index while a long transaction is open."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._deleted = NOTHING  # what it sees has no row any more

    async def delete_published(self) -> int:
        """Delete a piece; return how many rows, PIECE_ROWS if there may be more."""
        async with self._database.connection() as connection:
            if not await connection.fetchval("select to_regclass('realtime.feed') is not null"):
                return 0
            if await self._published(connection) == self._deleted:
                return 0  # as in most rounds
            # One snapshot for both: the feed that stands there later may be another database's, restored.
            async with transaction(connection, isolation="repeatable_read"):
                await connection.execute(_SESSION)
                published = await self._published(connection)
                if published.xmax < self._deleted.xmax:  # the database went back
                    self._deleted = NOTHING
                ranges = bounds(seen_since(self._deleted, published))
                status = await connection.execute(_FINISHED, *ranges, PIECE_ROWS)
        deleted = int(status.removeprefix("DELETE "))
        if deleted < PIECE_ROWS:
            self._deleted = published
        return deleted

    async def _published(self, connection: Session) -> Snapshot:
        """What is published whole; nothing new where there is no feed."""
        text = await connection.fetchval("select s1::text from realtime.feed")
        return self._deleted if text is None else parse_snapshot(text)

    async def delete_old_checkpoints(self) -> None:
        """Delete the checkpoints that newer ones have replaced; they only grow until then."""
        async with self._database.connection() as connection, transaction(connection):
            if await connection.fetchval("select to_regclass('realtime.mark') is not null"):
                await connection.execute("set local synchronous_commit = off")
                await connection.execute(_OLD_CHECKPOINTS)
