"""The feed on a real Postgres: which changes a batch has, in which order, and what reading it costs.

Long by the plans and pages that it counts.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from notifier.errors import FeedMoved
from notifier.feed.bounds import DEFAULT_BOUNDS, FeedBounds
from notifier.feed.feed import Feed
from notifier.feed.publication_store import Chunk
from notifier.feed.snapshots import parse_snapshot
from notifier.outbox_cleanup import PIECE_ROWS, OutboxCleanup
from notifier.sessions import connect, query
from realtime.channels import Table
from realtime.postgres.backlog import read_backlog
from realtime.postgres.pool import Database
from realtime.settings.config import MAX_CHANGE_BYTES
from tests.notifier_fixture import (
    enable,
    insert,
    project_at,
    session,
)
from tests.plans import pages_touched, ranges_ahead

MANY = 500_000
FEW_PAGES = 200  # of the buffer cache, for a read of a few rows that lie among very many
MOVES = ["table:public.orders"], ["token:7"]  # topics of a batch, and their checkpoints


@dataclass
class Reader:
    """A feed and the session that it reads on."""

    feed: Feed
    connection: Any

    async def read(self) -> list[int]:
        """Publish the next batch, as it were; return the ids of its rows, none if there is no batch."""
        if not await self.feed.take():
            return []
        return await self.ids()

    async def ids(self) -> list[int]:
        return [
            json.loads(_body(line))["data"]["id"] for chunk in await self.chunks() for line in chunk.lines
        ]

    async def chunks(self) -> list[Chunk]:
        return [chunk async for chunks in self.feed.chunks() for chunk in chunks]


def _body(line: str) -> str:
    return "{" + line[1:] + "}"


@asynccontextmanager
async def reader_of(database_url: str, bounds: FeedBounds = DEFAULT_BOUNDS) -> AsyncIterator[Reader]:
    connection = await connect(database_url)
    try:
        feed = Feed(connection, bounds=bounds)
        await feed.resume()
        yield Reader(feed, connection)
    finally:
        await connection.close(timeout=30)


@pytest_asyncio.fixture
async def reader(orders_url: str) -> AsyncIterator[Reader]:
    async with reader_of(orders_url) as reader:
        yield reader


@pytest_asyncio.fixture
async def slow_writer(orders_url: str) -> AsyncIterator[Any]:
    async with session(orders_url) as connection:
        yield connection


async def test_a_change_is_in_one_batch(reader: Reader, writer: Any) -> None:
    await insert(writer, 1, 2)
    assert await reader.read() == [1, 2]
    assert await reader.read() == []
    await insert(writer, 3)
    assert await reader.read() == [3]


async def test_a_transaction_that_commits_late_is_not_lost(
    reader: Reader, writer: Any, slow_writer: Any
) -> None:
    late = slow_writer.transaction()
    await late.start()
    await insert(slow_writer, 1)
    await insert(writer, 2)
    assert await reader.read() == [2]
    await insert(writer, 3)
    assert await reader.read() == [3]
    await late.commit()
    assert await reader.read() == [1]
    assert await reader.read() == []


async def test_what_is_rolled_back_never_comes(reader: Reader, writer: Any) -> None:
    outer = writer.transaction()
    await outer.start()
    await insert(writer, 1)
    inner = writer.transaction()
    await inner.start()
    await insert(writer, 2)
    await inner.rollback()
    await insert(writer, 3)
    await outer.commit()
    gone = writer.transaction()
    await gone.start()
    await insert(writer, 4)
    await gone.rollback()
    assert await reader.read() == [1, 3]
    assert await reader.read() == []


async def test_the_changes_of_a_row_keep_their_order(reader: Reader, writer: Any) -> None:
    await insert(writer, 1)
    await writer.execute("update orders set note = 'second' where id = 1")
    await writer.execute("delete from orders")
    await reader.feed.take()
    [chunk] = await reader.chunks()
    changes = [json.loads(_body(line)) for line in chunk.lines]
    assert [change["event"] for change in changes] == ["INSERT", "UPDATE", "DELETE"]
    assert changes[1]["old"] == {"id": 1, "note": "note"}
    assert chunk.ids == sorted(chunk.ids)


async def test_after_a_crash_the_same_batch_is_read_again(
    reader: Reader, orders_url: str, writer: Any
) -> None:
    await writer.execute("insert into orders select generate_series(1, 2500), 'note'")
    await reader.feed.take()
    before = await reader.chunks()
    await insert(writer, 9999)
    async with reader_of(orders_url, FeedBounds(chunk_changes=700)) as second:
        again = await second.chunks()
        assert second.feed.token == reader.feed.token
        assert await second.read() == [9999]
    assert [len(chunk.ids) for chunk in again] == [700, 700, 700, 400]
    for part in ("ids", "lines"):
        assert [x for chunk in again for x in getattr(chunk, part)] == [
            x for chunk in before for x in getattr(chunk, part)
        ]


async def test_whoever_lost_its_place_cannot_move_the_feed_and_learns_so(
    reader: Reader, orders_url: str, writer: Any
) -> None:
    async with reader_of(orders_url) as stale:
        await insert(writer, 1)
        assert await reader.read() == [1]
        await insert(writer, 2)
        with pytest.raises(FeedMoved):
            await stale.feed.take()
        with pytest.raises(FeedMoved):
            await stale.feed.check_ownership()
        assert await reader.read() == [2]


async def test_calls_are_bounded_in_changes_and_bytes(orders_url: str, writer: Any) -> None:
    await insert(writer, 1, 2, 3)
    await writer.execute("insert into orders values (4, repeat('x', 20000)), (5, 'note')")
    async with reader_of(orders_url, FeedBounds(chunk_bytes=5_000)) as reader:
        await reader.feed.take()
        assert [len(chunk.ids) for chunk in await reader.chunks()] == [3, 1, 1]


async def test_a_batch_of_many_tables_has_a_chunk_each(reader: Reader, orders_url: str, writer: Any) -> None:
    await enable(orders_url, Table("public", "users"))
    await insert(writer, 1)
    await writer.execute("insert into users values (2, 'note')")
    await insert(writer, 3)
    await reader.feed.take()
    chunks = {chunk.topic: chunk.ids for chunk in await reader.chunks()}
    assert list(chunks) == ["table:public.orders", "table:public.users"]
    assert [len(ids) for ids in chunks.values()] == [2, 1]


async def test_tidying_leaves_what_is_not_published(
    reader: Reader, orders_url: str, writer: Any, slow_writer: Any
) -> None:
    database = Database(project_at(orders_url))
    cleanup = OutboxCleanup(database)
    late = slow_writer.transaction()
    await late.start()
    await insert(slow_writer, 1)
    await insert(writer, 2)
    assert await reader.read() == [2]
    assert await cleanup.delete_published() == 0
    await insert(writer, 3)
    assert await reader.read() == [3]
    assert await cleanup.delete_published() == 1
    assert await reader.ids() == [3]
    await reader.feed.confirm()
    assert await cleanup.delete_published() == 1
    await late.commit()
    assert await cleanup.delete_published() == 0
    assert await reader.read() == [1]
    await reader.feed.confirm()
    assert await cleanup.delete_published() == 1
    assert await writer.fetchval("select count(*) from realtime.outbox") == 0
    await database.close()


async def test_tidying_begins_anew_when_the_database_went_back(
    reader: Reader, orders_url: str, writer: Any
) -> None:
    """What it deleted has come back, and new changes have ids that it thinks are gone."""
    database = Database(project_at(orders_url))
    cleanup = OutboxCleanup(database)
    cleanup._deleted = parse_snapshot("9000000:9000000:")
    await insert(writer, 1)
    assert await reader.read() == [1]
    await reader.feed.confirm()
    assert await cleanup.delete_published() == 1
    await database.close()


async def test_much_is_tidied_in_pieces(reader: Reader, orders_url: str, writer: Any) -> None:
    rows = PIECE_ROWS + 5
    await writer.execute("insert into orders select generate_series(1, $1::int), 'note'", rows)
    await reader.feed.take()
    await reader.feed.confirm()
    database = Database(project_at(orders_url))
    cleanup = OutboxCleanup(database)
    assert [await cleanup.delete_published() for _ in range(3)] == [PIECE_ROWS, 5, 0]
    await database.close()


async def test_the_backlog_counts_what_is_committed_and_not_published(
    reader: Reader, writer: Any, slow_writer: Any
) -> None:
    late = slow_writer.transaction()
    await late.start()
    await insert(slow_writer, 1)
    await insert(writer, 2, 3)
    assert (await read_backlog(writer)).pending == 2
    assert (await read_backlog(writer)).lag_seconds > 0
    await reader.read()
    await reader.feed.confirm()
    assert (await read_backlog(writer)).pending == 0
    await late.commit()
    assert (await read_backlog(writer)).pending == 1
    await reader.read()
    await reader.feed.confirm()
    assert (await read_backlog(writer)).pending == 0


@pytest.mark.parametrize("plans", ["force_generic_plan", "force_custom_plan"])
async def test_reading_few_among_very_many_touches_few_pages(
    reader: Reader, writer: Any, slow_writer: Any, plans: str
) -> None:
    """Half a million finished rows, and half a million more that a transaction has not committed yet."""
    fill = (
        "insert into realtime.outbox (schema_name, table_name, event, data)"
        f" select 'public', 'orders', 'INSERT', '{{\"id\": 0}}' from generate_series(1, {MANY})"
    )
    await writer.execute(fill)
    await reader.feed.take()
    await reader.feed.confirm()
    late = slow_writer.transaction()
    await late.start()
    await slow_writer.execute(fill)
    await writer.execute("analyze realtime.outbox")
    await insert(writer, 1, 2, 3)
    ranges = await ranges_ahead(writer, reader.feed)
    await reader.connection.execute(f"set plan_cache_mode = {plans}")
    assert await pages_touched(reader.connection, "take", *await taking(writer, reader.feed)) < FEW_PAGES
    assert await reader.feed.take()
    assert await pages_touched(reader.connection, "batch", *ranges, MAX_CHANGE_BYTES, None) < FEW_PAGES
    places = [
        row["ctid"] for row in await reader.connection.fetch(query("batch"), *ranges, MAX_CHANGE_BYTES, None)
    ]
    assert len(places) == 3
    assert await pages_touched(reader.connection, "changes", places, False) < FEW_PAGES
    assert await reader.ids() == [1, 2, 3]
    assert (await read_backlog(writer)).pending == 3
    await late.rollback()


async def place(connection: Any) -> tuple[int, int]:
    """Where the feed's row is."""
    found: tuple[int, int] = await connection.fetchval("select ctid from realtime.feed")
    return found


async def taking(connection: Any, feed: Feed) -> tuple[Any, ...]:
    """With what the feed would take the next batch."""
    return await place(connection), feed.token, "next", str(feed.s2), *MOVES, 1_000, 1_048_576, False


async def test_a_long_transaction_does_not_slow_the_feed_down(
    reader: Reader, orders_url: str, writer: Any, slow_writer: Any
) -> None:
    """It keeps every old version of the feed's row, and all marks."""
    long = slow_writer.transaction(isolation="repeatable_read")
    await long.start()
    await slow_writer.execute("select count(*) from orders")
    await insert(slow_writer, 0)
    for row_id in range(1, 1_001):
        await insert(writer, row_id)
        assert await reader.read() == [row_id]
    await insert(writer, 1_001)
    assert await pages_touched(reader.connection, "take", *await taking(writer, reader.feed)) < 30
    at = await place(writer)
    assert await pages_touched(reader.connection, "confirm", at, reader.feed.token, *MOVES) < 30
    await long.rollback()
    database = Database(project_at(orders_url))
    await OutboxCleanup(database).delete_old_checkpoints()
    await database.close()
    assert await writer.fetchval("select count(*) from realtime.mark") == 1
