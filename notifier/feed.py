"""The feed of one database: cuts the outbox into numbered batches and reads them.

Rows come from Postgres on the session that holds the leader lock; they go out as lines, in chunks a
topic. Never publishes, never sleeps.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import lru_cache
from typing import Any

from notifier.database import query
from notifier.faults import LostPlace
from notifier.snapshots import NOTHING, Snapshot, bounds, parse_snapshot, seen_since
from realtime.broker import Chunk
from realtime.channels import Event, Table
from realtime.publications import change_line, line_prefix

CHUNK_CHANGES = 5_000  # of one call of Redis' script
CHUNK_BYTES = 1_048_576  # likewise; a bigger change goes alone
SMALL_BATCH = 1_000  # changes that are read without a cursor
SNAPSHOT_SECONDS = 10  # the answer takes a millisecond: a database that is silent for so long is lost

_ADVANCE, _CONFIRM = query("advance"), query("confirm")
_BATCH, _CHANGES = query("batch"), query("changes")


class Feed:
    """Batch `number` is what snapshot `s2` sees and `s1` did not; what `s1` sees has been published."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.number = 0
        self.s1 = self.s2 = NOTHING
        self._commit_times = False  # whether the database tracks them

    async def resume(self) -> None:
        """Load the batch that was stored last; it may not have been published whole."""
        row = await self._connection.fetchrow(
            "select batch, s1::text, s2::text, current_setting('track_commit_timestamp')::bool"
            " as commit_times from realtime.feed"
        )
        self.number, self._commit_times = row["batch"], row["commit_times"]
        self.s1, self.s2 = parse_snapshot(row["s1"]), parse_snapshot(row["s2"])

    async def prepared_transactions_allowed(self) -> bool:
        """Tell whether writers may PREPARE; a transaction that rang cannot, so the triggers do not ring."""
        return bool(
            await self._connection.fetchval("select current_setting('max_prepared_transactions')::int > 0")
        )

    async def snapshot(self) -> Snapshot:
        text = await self._connection.fetchval("select pg_current_snapshot()::text", timeout=SNAPSHOT_SECONDS)
        return parse_snapshot(text)

    async def barrier(self) -> int:
        """Return a transaction id that is higher than that of every change begun before."""
        return int(await self._connection.fetchval("select pg_current_xact_id()::text"))

    async def advance(self, snapshot: Snapshot) -> bool:
        """Store the next batch, up to this snapshot; False if there is nothing in it.

        Only to be called when the batch before has been published whole. Raises LostPlace if somebody else
        has moved the feed.
        """
        ranges = seen_since(self.s2, snapshot)
        if not ranges:
            return False
        row = await self._connection.fetchrow(_ADVANCE, self.number, str(snapshot), *bounds(ranges))
        if row["found"] != self.number:
            raise LostPlace(self.number, row["found"])
        if not row["moved"]:
            return False
        self.number, self.s1, self.s2 = self.number + 1, self.s2, snapshot
        return True

    async def chunks(self) -> AsyncGenerator[list[Chunk], None]:
        """Read the current batch, in order, in pieces that fit one call each topic."""
        async with aclosing(self._pages()) as pages:
            async for page in pages:
                for ids in _slices(page):
                    yield _by_topic(await self._connection.fetch(_CHANGES, ids, self._commit_times))

    async def _pages(self) -> AsyncGenerator[list[Any], None]:
        """Yield ids and sizes of the current batch; a small one, as most are, costs one round trip."""
        ranges = bounds(seen_since(self.s1, self.s2))
        page = await self._connection.fetch(_BATCH, *ranges, SMALL_BATCH + 1)
        if len(page) <= SMALL_BATCH:
            yield page
            return
        async with self._connection.transaction(readonly=True):
            cursor = await self._connection.cursor(_BATCH, *ranges, None)
            while page := await cursor.fetch(CHUNK_CHANGES):
                yield page

    async def confirm(self) -> None:
        """Note that the current batch has been published whole, before a pause."""
        if self.s1 != self.s2:
            await self._connection.execute(_CONFIRM, self.number)
            self.s1 = self.s2


def _slices(page: list[Any]) -> list[list[int]]:
    """Cut a page of (id, bytes) so that no piece is over CHUNK_BYTES, unless it is a single change."""
    slices: list[list[int]] = []
    size = CHUNK_BYTES
    for change_id, change_bytes in page:
        size += change_bytes
        if size > CHUNK_BYTES:
            slices.append([])
            size = change_bytes
        slices[-1].append(change_id)
    return slices


def _by_topic(rows: list[Any]) -> list[Chunk]:
    chunks: dict[tuple[str, str], Chunk] = {}
    for change_id, schema, name, event, data, old, truncated, committed_at in rows:
        topic, prefixes = _table_facts(schema, name)
        chunk = chunks.get((schema, name))
        if chunk is None:
            chunk = chunks[schema, name] = Chunk(topic, [], [])
        chunk.ids.append(change_id)
        chunk.lines.append(change_line(prefixes[event], data, old, committed_at, truncated))
    return list(chunks.values())


@lru_cache(maxsize=1_000)
def _table_facts(schema: str, name: str) -> tuple[str, dict[str, str]]:
    table = Table(schema, name)
    return table.topic, {event.value: line_prefix(table, event) for event in Event}
