"""Deletes published changes from the outbox, beside the feed and without blocking it.

Any session may delete them: what the feed's stored S1 sees has been published whole, and is never read again.
"""

from __future__ import annotations

from notifier.feed.snapshots import NOTHING, Snapshot, bounds, parse_snapshot, seen_since
from notifier.sessions import query
from realtime.postgres.pool import Database, transaction
from realtime.postgres.session import Session

PIECE_ROWS = 50_000  # that one statement deletes, so that none takes long

_FINISHED, _OLD_CHECKPOINTS = query("finished"), query("old_marks")

# If a crash undoes a delete, a later round repeats it, so no commit waits for the disk.
_SESSION = "set local enable_seqscan = off; set local jit = off; set local synchronous_commit = off"


class OutboxCleanup:
    """Remembers what it deleted: deleted rows stay in the index while a long transaction is open."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._deleted = NOTHING  # the outbox has no row any more that this snapshot sees

    async def delete_published(self) -> int:
        """Delete one piece; return the number of rows, which is PIECE_ROWS if more may be left."""
        async with self._database.connection() as connection:
            if not await connection.fetchval("select to_regclass('realtime.feed') is not null"):
                return 0
            if await self._published(connection) == self._deleted:
                return 0  # as in most rounds
            # Read and delete in one snapshot: a restore may put another database's feed there meanwhile.
            async with transaction(connection, isolation="repeatable_read"):
                await connection.execute(_SESSION)
                published = await self._published(connection)
                if published.xmax < self._deleted.xmax:  # the database went back in time
                    self._deleted = NOTHING
                ranges = bounds(seen_since(self._deleted, published))
                status = await connection.execute(_FINISHED, *ranges, PIECE_ROWS)
        deleted = int(status.removeprefix("DELETE "))
        if deleted < PIECE_ROWS:
            self._deleted = published
        return deleted

    async def _published(self, connection: Session) -> Snapshot:
        """Return the snapshot up to which all is published; without a feed, what is deleted already."""
        text = await connection.fetchval("select s1::text from realtime.feed")
        return self._deleted if text is None else parse_snapshot(text)

    async def delete_old_checkpoints(self) -> None:
        """Delete the checkpoints that newer ones have replaced; until then their table only grows."""
        async with self._database.connection() as connection, transaction(connection):
            if await connection.fetchval("select to_regclass('realtime.mark') is not null"):
                await connection.execute("set local synchronous_commit = off")
                await connection.execute(_OLD_CHECKPOINTS)
