"""The feed of one database: cuts the outbox into numbered batches and reads them.

The feed reads rows from Postgres on the session that leads, and yields them as lines, in one chunk per topic.
It never publishes and never sleeps.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from typing import Any

from notifier.errors import UNREADABLE, FeedMoved, NoFeed, UnreadableBatch
from notifier.feed.batch_reader import LONG_SECONDS, BatchReader
from notifier.feed.bounds import DEFAULT_BOUNDS, FeedBounds
from notifier.feed.feed_row import read_checkpoints, read_feed_row
from notifier.feed.outbox_rows import is_object, table_facts, topics_of
from notifier.feed.publication_store import Chunk
from notifier.feed.snapshots import NOTHING, parse_snapshot, seen_since
from notifier.feed.timings import DEFAULTS, FeedTimings
from notifier.sessions import query
from realtime.postgres.migrations import check_version
from realtime.postgres.pool import transaction
from realtime.postgres.session import OwnSession, Row, fetch_one
from realtime.publications import change_line

SHED_ROWS = 50_000  # that one statement deletes
HEAD = 4  # the first columns of `take.sql`, which are not of the outbox
STORE_ONLY = -1  # for `take.sql`: no batch has so few changes that it is read

_FEED_ROW, _SETTLE_HERE, _BEGIN_ANEW = query("feed_row"), query("settle_here"), query("begin_anew")
_TAKE, _CONFIRM = query("take"), query("confirm")
_MAY_PREPARE = "select current_setting('max_prepared_transactions')::int > 0"
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
        self._is_text = True  # the database has checked that what it has is text
        self.token = ""  # of the current batch
        self.s1 = self.s2 = NOTHING
        self.checkpoints: dict[str, str] = {}  # of every topic, before the current batch
        self.moved: dict[str, str] = {}  # checkpoints by the part of the batch that was read
        self.seen = NOTHING  # the snapshot of the last `take`
        self._taken: list[Any] | None = None  # the rows of the whole batch, if `take` has read them
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
        self._commit_times, self._is_text = row.commit_times, row.is_text
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
        return bool(await self._connection.fetchval(_MAY_PREPARE))

    async def barrier(self) -> int:
        """Return a transaction id that is higher than the id of every change that began before this call."""
        return int(await self._connection.fetchval("select pg_current_xact_id()::text"))

    async def take(self) -> bool:
        """Store the next batch, up to now; return False if it would be empty. Reads a small batch, too.

        Call it only after the current batch has been published whole. Raises FeedMoved if another session
        has moved the feed.
        """
        try:
            return await self._take(self._bounds.small_batch if self._is_text else STORE_ONLY)
        except UNREADABLE:  # the server could not read a row, and has undone the statement
            return await self._take(STORE_ONLY)

    async def _take(self, few: int) -> bool:
        """Store the next batch, and read it if it has few changes; raises UnreadableBatch."""
        token = self._token(self._number + 1)
        here = self._ctid, self.token, token, str(self.s2), *_columns(self.moved)
        asked = few, self._bounds.chunk_bytes, self._commit_times
        try:
            rows = await self._connection.fetch(_TAKE, *here, *asked, timeout=self._timings.snapshot_seconds)
        except UnicodeDecodeError as error:
            # The batch is stored, and where is unknown: whoever resumes the feed reads it carefully.
            raise UnreadableBatch(token) from error
        self.seen = parse_snapshot(rows[0]["snapshot"])
        if not self._has_moved(rows[0]):
            return False
        self._number, self.token, self.s1, self.s2 = self._number + 1, token, self.s2, self.seen
        self._taken = [row[HEAD:] for row in rows] if rows[0]["is_whole"] else None
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
        taken, self._taken = self._taken, None
        if taken is not None:
            self.moved, self._new, self.left_out = {}, set(), 0
            yield self._by_topic(taken)
            return
        reader = BatchReader(self._connection, self._bounds, seen_since(self.s1, self.s2), self._commit_times)
        try:
            async with aclosing(self._chunks(reader, carefully=False)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        except UNREADABLE:
            pass
        async with aclosing(self._chunks(reader, carefully=True)) as pieces:
            async for piece in pieces:
                yield piece

    def lone_chunk(self) -> Chunk | None:
        """Return the change of a batch that has no other one, if `take` has read it: then that is all."""
        if self._taken is None or len(self._taken) > 1:
            return None
        self.moved, self._new, self.left_out = {}, set(), 0
        chunks = self._by_topic(self._taken)
        return chunks[0] if chunks else None

    async def _chunks(self, reader: BatchReader, carefully: bool) -> AsyncGenerator[list[Chunk], None]:
        self.moved, self._new, self.left_out = {}, set(), 0
        async with aclosing(reader.pieces(carefully)) as pieces:
            async for rows in pieces:
                yield self._by_topic(rows)
        self.left_out += reader.left_out

    def _by_topic(self, rows: Iterable[Any]) -> list[Chunk]:
        chunks: dict[tuple[str, str], Chunk] = {}
        for change_id, schema, name, event, data, old, truncated, committed_at in rows:
            topic, prefixes = table_facts(schema, name)
            is_change = event in prefixes and is_object(data) and (old is None or is_object(old))
            if not is_change or not self._has_room_for(topic):
                self.left_out += 1
                continue
            chunk = chunks.get((schema, name))
            if chunk is None:
                after = self.moved.get(topic) or self.checkpoints.get(topic, "")
                chunk = chunks[schema, name] = Chunk(topic, after, [], [])
            chunk.ids.append(change_id)
            line = change_line(prefixes[event], data, old, committed_at, truncated)
            # Postgres writes no line break, but a forged row may have some: a line must stay one line.
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
        self.token, self.moved, self._new, self._taken = token, {}, set(), None
        self.checkpoints |= lost
        return sum(row["changes"] for row in shed)


def _columns(checkpoints: Mapping[str, str]) -> tuple[list[str], list[str]]:
    return list(checkpoints), list(checkpoints.values())
