"""Reads the rows of one stored batch from the outbox, in pieces that fit one call of Redis.

The feed knows which batch that is, and what its rows mean. Never writes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from operator import itemgetter

from notifier.errors import UNREADABLE, RowsMoved
from notifier.feed.bounds import FeedBounds
from notifier.feed.snapshots import Range, bounds
from notifier.sessions import query
from realtime.postgres.pool import transaction
from realtime.postgres.session import OwnSession, Row
from realtime.settings.config import MAX_CHANGE_BYTES
from realtime.waiting.batches import batches_by_weight

LONG_SECONDS = 120  # timeout of statements that read or delete very many rows

_BATCH, _CHANGES = query("batch"), query("changes")

Place = tuple[tuple[int, int], int]  # the ctid and the id of a change


class BatchReader:
    """Reads one batch, the rows of `ranges`; `left_out` counts the rows that it did not read."""

    def __init__(
        self, connection: OwnSession, bounds: FeedBounds, ranges: list[Range], commit_times: bool
    ) -> None:
        self._connection = connection
        self._bounds = bounds
        self._ranges = ranges
        self._commit_times = commit_times  # whether the database tracks them
        self.left_out = 0

    async def pieces(self, carefully: bool = False) -> AsyncGenerator[Sequence[Row], None]:
        """Yield the changes in order. Raises one of UNREADABLE; reading `carefully` leaves such rows out."""
        self.left_out = 0
        read: Callable[[list[Place]], Awaitable[list[Row]]] = (
            self._readable_changes if carefully else self._changes
        )
        async with aclosing(self._pages()) as pages:
            async for page in pages:
                changes = [((ctid, change_id), size) for change_id, size, ctid in page if size is not None]
                self.left_out += len(page) - len(changes)
                for batch in batches_by_weight(changes, itemgetter(1), self._bounds.chunk_bytes):
                    yield await read([place for place, _ in batch])

    async def _pages(self) -> AsyncGenerator[list[Row], None]:
        """Yield ids, sizes and ctids; a small batch costs one round trip."""
        asked = *bounds(self._ranges), MAX_CHANGE_BYTES
        page = await self._connection.fetch(
            _BATCH, *asked, self._bounds.small_batch + 1, timeout=LONG_SECONDS
        )
        if len(page) <= self._bounds.small_batch:
            yield page
            return
        async with transaction(self._connection, readonly=True):
            cursor = await self._connection.cursor(_BATCH, *asked, None)
            while page := await cursor.fetch(self._bounds.chunk_changes, timeout=LONG_SECONDS):
                yield page

    async def _changes(self, places: list[Place]) -> list[Row]:
        """Read the rows in these places; raises RowsMoved if there are other rows, or none."""
        rows = await self._connection.fetch(_CHANGES, [ctid for ctid, _ in places], self._commit_times)
        if [row[0] for row in rows] != [change_id for _, change_id in places]:
            raise RowsMoved
        return rows

    async def _readable_changes(self, places: list[Place]) -> list[Row]:
        """Leave out unreadable rows, such as bytes that are not text; find them by halving the places."""
        try:
            async with transaction(self._connection):  # a new one, or a savepoint in the cursor's transaction
                return await self._changes(places)
        except UNREADABLE:
            if len(places) == 1:
                self.left_out += 1
                return []
        middle = len(places) // 2
        return await self._readable_changes(places[:middle]) + await self._readable_changes(places[middle:])
