"""The feed of one database: cuts the outbox into numbered batches and reads them.

The feed reads rows from Postgres on the session that leads, and yields them as lines, in one chunk per topic.
It never publishes and never sleeps.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from operator import itemgetter

from notifier.errors import UNREADABLE, FeedMoved, NoFeed
from notifier.feed.bounds import DEFAULT_BOUNDS, FeedBounds
from notifier.feed.feed_row import read_checkpoints, read_feed_row
from notifier.feed.outbox_rows import table_facts, topics_of
from notifier.feed.publication_store import Chunk
from notifier.feed.snapshots import NOTHING, Snapshot, bounds, parse_snapshot, seen_since
from notifier.feed.timings import DEFAULTS, FeedTimings
from notifier.sessions import query
from realtime.postgres.migrations import check_version
from realtime.postgres.pool import transaction
from realtime.postgres.session import OwnSession, Row, fetch_one
from realtime.publications import change_line
from realtime.settings.config import MAX_CHANGE_BYTES
from realtime.waiting.batches import batches_by_weight

SHED_ROWS = 50_000  # that one statement deletes
LONG_SECONDS = 120  # timeout of statements that read or delete very many rows

_FEED_ROW, _SETTLE_HERE, _BEGIN_ANEW = query("feed_row"), query("settle_here"), query("begin_anew")
_ADVANCE, _CONFIRM = query("advance"), query("confirm")
_BATCH, _CHANGES = query("batch"), query("changes")
_FOUND = "select left(token, 300) from realtime.feed"
_EXCESS, _SHED, _RENAME, _CHECKPOINTS = query("excess"), query("shed"), query("rename"), query("marks")


class Feed:
    """The current batch is what snapshot `s2` sees and `s1` did not; what `s1` sees has been published.

    A checkpoint, TOKEN:ID, names the change that a topic took last. Redis keeps the checkpoint with the
    topic, and the database keeps it beside the feed.
    """

    def __init__(
        self, connection: OwnSession, timings: FeedTimings = DEFAULTS, bounds: FeedBounds = DEFAULT_BOUNDS
    ) -> None:
        self._connection = connection
        self._timings = timings
        self._bounds = bounds
        self._incarnation = secrets.token_hex(4)  # no token of another Feed begins with it
        self._ctid = (0, 0)  # ctid of the feed's row; without it Postgres would search old versions
        self._number = 0  # of the current batch
        self._commit_times = False  # whether the database tracks commit times
        self.token = ""  # of the current batch
        self.s1 = self.s2 = NOTHING
        self.checkpoints: dict[str, str] = {}  # of every topic, before the current batch
        self.moved: dict[str, str] = {}  # checkpoints by the part of the batch that was read
        self._new: set[str] = set()  # topics of that part which had no checkpoint before the batch
        self.left_out = 0  # rows of that part that no trigger of ours wrote; see docs/threat-model.md

    def __repr__(self) -> str:
        return f"<Feed batch {self.token}, {len(self.checkpoints)} topics>"

    async def resume(self) -> bool:
        """Load the batch that was stored last; it may have been published only in part.

        Return False if the feed belongs to another database, from which this one was restored or copied:
        then all changes that were captured before are given up.
        """
        found = read_feed_row(await self._row())
        if found.elsewhere:
            await self._begin_anew(found.number)
        else:
            await self._connection.execute(_SETTLE_HERE)
        row = read_feed_row(await self._row())
        self._ctid, self._number, self.token = row.ctid, row.number, row.token
        self._commit_times = row.commit_times
        self.s1, self.s2 = row.s1, row.s2
        self.checkpoints = read_checkpoints(await self._connection.fetch(_CHECKPOINTS))
        return not found.elsewhere

    async def _row(self) -> Row:
        feeds = await self._connection.fetch(_FEED_ROW)
        if len(feeds) != 1:
            raise NoFeed(len(feeds))
        return feeds[0]

    async def _begin_anew(self, number: int) -> None:
        async with transaction(self._connection, isolation="repeatable_read"):
            token = self._token(number + 1)
            await self._connection.execute(_BEGIN_ANEW, token, timeout=LONG_SECONDS)
            await self._connection.execute(_SETTLE_HERE)

    def _token(self, number: int) -> str:
        return f"{self._incarnation}.{number}"

    async def prepared_transactions_allowed(self) -> bool:
        """Tell whether writers may PREPARE: a transaction that rang cannot, so the triggers do not ring."""
        return bool(
            await self._connection.fetchval("select current_setting('max_prepared_transactions')::int > 0")
        )

    async def snapshot(self) -> Snapshot:
        timeout = self._timings.snapshot_seconds
        text = await self._connection.fetchval("select pg_current_snapshot()::text", timeout=timeout)
        return parse_snapshot(text)

    async def barrier(self) -> int:
        """Return a transaction id that is higher than the id of every change that began before this call."""
        return int(await self._connection.fetchval("select pg_current_xact_id()::text"))

    async def advance(self, snapshot: Snapshot) -> bool:
        """Store the next batch, up to this snapshot; return False if the batch would be empty.

        Call it only after the current batch has been published whole. Raises FeedMoved if another session
        has moved the feed.
        """
        ranges = seen_since(self.s2, snapshot)
        if not ranges:
            return False
        token = self._token(self._number + 1)
        here = self._ctid, self.token
        row = await fetch_one(
            self._connection, _ADVANCE, *here, token, str(snapshot), *bounds(ranges), *_columns(self.moved)
        )
        if not self._has_moved(row):
            return False
        self._number, self.token, self.s1, self.s2 = self._number + 1, token, self.s2, snapshot
        self._keep_checkpoints()
        return True

    def _has_moved(self, row: Row) -> bool:
        """Read where the feed's row is after a statement that tried to change it; tell whether it did."""
        self._check_token(row["found"])
        if row["moved_to"] is None:
            return False
        self._ctid = row["moved_to"]
        return True

    def _keep_checkpoints(self) -> None:
        self.checkpoints |= self.moved
        self.moved = {}

    async def check_ownership(self) -> None:
        """Raise FeedMoved if another session has moved the feed, TooNew if the schema is too new for us.

        A lost session raises its own error.
        """
        found = await self._connection.fetchval(_FOUND, timeout=self._timings.snapshot_seconds)
        self._check_token(found)
        await check_version(self._connection)

    def _check_token(self, found: str | None) -> None:
        if found != self.token:
            raise FeedMoved(self.token, found)

    def diverged(self, found: Mapping[str, str], published: bool) -> dict[str, tuple[str, str]]:
        """Return the topics that have diverged, each with the checkpoint found and the one expected.

        Unless the current batch is known to be `published` whole, a topic may have taken a part of it.
        """
        checkpoints = self.checkpoints | self.moved if published else self.checkpoints
        return {
            topic: (checkpoint, checkpoints.get(topic, ""))
            for topic, checkpoint in found.items()
            if checkpoint != checkpoints.get(topic, "")
            and (published or not self.token or checkpoint.rpartition(":")[0] != self.token)
        }

    async def chunks(self) -> AsyncGenerator[list[Chunk], None]:
        """Read the current batch in order, in pieces that fit one call per topic.

        If a row cannot be read, the batch is read again without that row; no topic takes a change twice.
        """
        try:
            async with aclosing(self._chunks(self._changes)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        except UNREADABLE:
            pass
        async with aclosing(self._chunks(self._readable_changes)) as pieces:
            async for piece in pieces:
                yield piece

    async def _chunks(
        self, read: Callable[[list[int]], Awaitable[list[Row]]]
    ) -> AsyncGenerator[list[Chunk], None]:
        self.moved, self._new, self.left_out = {}, set(), 0
        async with aclosing(self._pages()) as pages:
            async for page in pages:
                changes = [(change_id, size) for change_id, size in page if size is not None]
                self.left_out += len(page) - len(changes)
                for batch in batches_by_weight(changes, itemgetter(1), self._bounds.chunk_bytes):
                    yield self._by_topic(await read([change_id for change_id, _ in batch]))

    async def _changes(self, ids: list[int]) -> list[Row]:
        return await self._connection.fetch(_CHANGES, ids, self._commit_times)

    async def _readable_changes(self, ids: list[int]) -> list[Row]:
        """Leave out unreadable rows, such as bytes that are not text; find them by halving the ids."""
        try:
            async with transaction(self._connection):  # a new one, or a savepoint in the cursor's transaction
                return await self._changes(ids)
        except UNREADABLE:
            if len(ids) == 1:
                self.left_out += 1
                return []
        middle = len(ids) // 2
        return await self._readable_changes(ids[:middle]) + await self._readable_changes(ids[middle:])

    def _by_topic(self, rows: list[Row]) -> list[Chunk]:
        chunks: dict[tuple[str, str], Chunk] = {}
        for change_id, schema, name, event, data, old, truncated, committed_at in rows:
            topic, prefixes = table_facts(schema, name)
            if event not in prefixes or not self._has_room_for(topic):
                self.left_out += 1
                continue
            chunk = chunks.get((schema, name))
            if chunk is None:
                after = self.moved.get(topic) or self.checkpoints.get(topic, "")
                chunk = chunks[schema, name] = Chunk(topic, after, [], [])
            chunk.ids.append(change_id)
            line = change_line(prefixes[event], data, old, committed_at, truncated)
            # Postgres writes no line break, but a forged cast may: a line must stay one line.
            chunk.lines.append(line.replace("\n", " "))
        for chunk in chunks.values():
            self.moved[chunk.topic] = f"{self.token}:{chunk.ids[-1]}"
        return list(chunks.values())

    def _has_room_for(self, topic: str) -> bool:
        """Tell whether the feed has the topic or may add it; within a batch the answer stays the same."""
        if topic in self.checkpoints or topic in self._new:
            return True
        if len(self.checkpoints) + len(self._new) >= self._bounds.topics:
            return False
        self._new.add(topic)
        return True

    async def _pages(self) -> AsyncGenerator[list[Row], None]:
        """Yield ids and sizes of the current batch; a small batch, as most are, costs one round trip."""
        asked = *bounds(seen_since(self.s1, self.s2)), MAX_CHANGE_BYTES
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

    async def confirm(self) -> None:
        """Note that the current batch has been published whole, before a pause."""
        if self.s1 != self.s2:
            row = await fetch_one(self._connection, _CONFIRM, self._ctid, self.token, *_columns(self.moved))
            self._has_moved(row)
            self.s1 = self.s2
            self._keep_checkpoints()

    async def shed(self, max_rows: int, max_bytes: int) -> int:
        """Delete the oldest unpublished changes, down to a bound; return how many were deleted.

        The topics of deleted changes, and topics that took a part of the current batch, have diverged then
        and must begin a new epoch. Do not call this while `chunks` is being read.
        """
        bound = str(self.s1), max_rows, max_bytes
        last = await self._connection.fetchval(_EXCESS, *bound, timeout=LONG_SECONDS)
        changes = piece = 0 if last is None else await self._shed_piece(last)
        while piece == SHED_ROWS:
            piece = await self._shed_piece(last)
            changes += piece
        return changes

    async def _shed_piece(self, last: int) -> int:
        try:
            return await self._shed_named(last, as_bytes=False)
        except UNREADABLE:
            return await self._shed_named(last, as_bytes=True)

    async def _shed_named(self, last: int, as_bytes: bool) -> int:
        """Delete one piece; `as_bytes` for table names that are no text. A name not in UTF-8 has no topic."""
        async with transaction(self._connection):
            asked = str(self.s1), last, SHED_ROWS, as_bytes
            shed = await self._connection.fetch(_SHED, *asked, timeout=LONG_SECONDS)
            token = f"{self._token(self._number)}-{secrets.token_hex(4)}"
            lost = {topic: f"{token}:0" for topic in topics_of(shed) if self._has_room_for(topic)}
            row = await fetch_one(self._connection, _RENAME, self._ctid, self.token, token, *_columns(lost))
            self._check_token(row["found"])
        self._ctid = row["moved_to"]
        self.token, self.moved, self._new = token, {}, set()
        self.checkpoints |= lost
        return sum(row["changes"] for row in shed)


def _columns(checkpoints: Mapping[str, str]) -> tuple[list[str], list[str]]:
    return list(checkpoints), list(checkpoints.values())
