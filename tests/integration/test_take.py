"""A small batch, which one statement stores and reads, is the batch that several statements read."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from notifier.errors import FeedMoved, UnreadableBatch
from notifier.feed.bounds import DEFAULT_BOUNDS, FeedBounds
from notifier.feed.feed import Feed
from notifier.feed.snapshots import Snapshot, seen_since
from notifier.feed.timings import FeedTimings
from notifier.sessions import connect, query
from tests.notifier_fixture import (
    enable,
    insert,
    notifier,
    project_at,
    session,
    settings_at,
    witness,
)

PAIRS = 300  # of snapshots that are compared
RUNNING = 20_000  # transactions


class Spy:
    """A session that remembers which statements it ran."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.ran: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def fetch(self, statement: str, *arguments: Any, **options: Any) -> list[Any]:
        self.ran.append(statement)
        rows: list[Any] = await self._connection.fetch(statement, *arguments, **options)
        return rows

    def reads(self) -> int:
        """Return how many statements ran since the last call."""
        count = len(self.ran)
        self.ran.clear()
        return count


@asynccontextmanager
async def feed_of(url: str, bounds: FeedBounds = DEFAULT_BOUNDS) -> AsyncIterator[tuple[Feed, Spy]]:
    connection = await connect(url)
    try:
        spy = Spy(connection)
        feed = Feed(spy, bounds=bounds)  # type: ignore[arg-type]
        await feed.resume()
        spy.ran.clear()
        yield feed, spy
    finally:
        await connection.close(timeout=30)


async def ids(feed: Feed) -> list[int]:
    return [each for chunks in [one async for one in feed.chunks()] for chunk in chunks for each in chunk.ids]


async def lines(feed: Feed) -> list[str]:
    return [
        each for chunks in [one async for one in feed.chunks()] for chunk in chunks for each in chunk.lines
    ]


def random_snapshot(dice: random.Random, least: int) -> Snapshot:
    """A snapshot whose newest transaction is `least` or newer, and of which some older ones run."""
    xmax = least + dice.randint(0, 12)
    running = sorted(
        xid for xid in range(max(1, xmax - 15), xmax) if dice.random() < dice.choice((0, 0.2, 0.9))
    )
    return Snapshot(running[0] if running else xmax, xmax, tuple(running))


async def test_its_ranges_are_those_between_any_two_snapshots(orders_url: str) -> None:
    """What runs at the later snapshot ran at the earlier one, or began after it."""
    head = query("take").partition("), few as")[0].replace("pg_current_snapshot()", "$1::text::pg_snapshot")
    asked = head.replace("$4", "$2") + ") select low::text, high::text from range"
    dice = random.Random(5)
    several = 0
    async with session(orders_url) as connection:
        for _ in range(PAIRS):
            earlier = random_snapshot(dice, 20)
            later = random_snapshot(dice, earlier.xmax)
            running = [xid for xid in later.running if xid in earlier.running or xid >= earlier.xmax]
            later = Snapshot(running[0] if running else later.xmax, later.xmax, tuple(running))
            found = await connection.fetch(asked, str(later), str(earlier))
            ranges = sorted((int(low), int(high)) for low, high in found)
            assert ranges == sorted(seen_since(earlier, later)), (earlier, later)
            several += len(ranges) > 1
    assert several > PAIRS // 4


async def test_very_many_transactions_may_run(orders_url: str) -> None:
    """Each plan parses each snapshot once, and not for each transaction."""
    head = query("take").partition("), few as")[0].replace("pg_current_snapshot()", "$1::text::pg_snapshot")
    asked = head.replace("$4", "$2") + ") select count(*) from range"
    many = Snapshot(1_000, 1_000 + 2 * RUNNING, tuple(range(1_000, 1_000 + 2 * RUNNING, 2)))
    earlier = str(Snapshot(1_000, 1_001, (1_000,)))
    async with session(orders_url) as connection:
        await connection.execute("set plan_cache_mode = force_generic_plan")
        for last, ranges in ((earlier, RUNNING), (str(many), 0)):
            found = await connection.fetchval(asked, str(many), last, timeout=FeedTimings().snapshot_seconds)
            assert found == ranges


async def test_a_small_batch_is_stored_and_read_by_one_statement(orders_url: str, writer: Any) -> None:
    async with feed_of(orders_url) as (feed, spy):
        await insert(writer, 1, 2, 3)
        assert await feed.take()
        assert await ids(feed) == [1, 2, 3]
        assert spy.reads() == 1
        again = await lines(feed)
        assert spy.reads() == 2, "a batch that is read once more is read from the outbox"
        assert not await feed.take()
        async with feed_of(orders_url) as (second, _):
            assert (second.token, second.s1, second.s2) == (feed.token, feed.s1, feed.s2)
            assert await lines(second) == again


async def test_what_one_statement_reads_is_what_several_read(orders_url: str, writer: Any) -> None:
    await enable(orders_url)
    async with feed_of(orders_url) as (feed, _):
        await writer.execute("insert into orders values (1, 'a'), (2, E'b\\n\"')")
        await writer.execute("update orders set note = 'c'")
        await writer.execute("delete from orders where id = 1")
        assert await feed.take()
        taken, moved = await lines(feed), dict(feed.moved)
        assert len(taken) == 5
        assert await lines(feed) == taken
        assert feed.moved == moved


@pytest.mark.parametrize(
    ("bounds", "rows"),
    [(FeedBounds(small_batch=5), 6), (FeedBounds(chunk_bytes=200), 5), (DEFAULT_BOUNDS, 2_500)],
)
async def test_a_large_batch_is_stored_at_once_and_read_in_pieces(
    orders_url: str, writer: Any, bounds: FeedBounds, rows: int
) -> None:
    async with feed_of(orders_url, bounds) as (feed, spy):
        await writer.execute("insert into orders select generate_series(1, $1::int), repeat('x', 50)", rows)
        assert await feed.take()
        assert spy.reads() == 1
        assert await ids(feed) == list(range(1, rows + 1))
        assert spy.reads() > 1
        assert not await feed.take()
        await insert(writer, rows + 1)
        assert await feed.take()
        assert await ids(feed) == [rows + 1]


async def test_just_as_many_as_are_few_are_read_at_once(orders_url: str, writer: Any) -> None:
    async with feed_of(orders_url, FeedBounds(small_batch=5)) as (feed, spy):
        await insert(writer, 1, 2, 3, 4, 5)
        assert await feed.take()
        assert await ids(feed) == [1, 2, 3, 4, 5]
        assert spy.reads() == 1


async def test_a_leader_whose_row_was_changed_stores_nothing(orders_url: str, writer: Any) -> None:
    """As by a new leader, before that one has stored a batch."""
    async with feed_of(orders_url) as (feed, _):
        await insert(writer, 1)
        await writer.execute("update realtime.feed set leader_pid = leader_pid")
        before = await writer.fetchval("select s2::text from realtime.feed")
        with pytest.raises(FeedMoved):
            await feed.take()
        assert await writer.fetchval("select s2::text from realtime.feed") == before


async def test_checkpoints_are_stored_with_the_next_batch(orders_url: str, writer: Any) -> None:
    async with feed_of(orders_url) as (feed, _):
        for row_id in (1, 2):
            await insert(writer, row_id)
            assert await feed.take()
            assert await ids(feed) == [row_id]
        marks = await writer.fetch("select topic, mark from realtime.mark")
        assert [tuple(mark) for mark in marks] == list(feed.checkpoints.items())
        assert len(marks) == 1


async def test_what_the_bound_of_the_outbox_deletes_is_not_published(orders_url: str, writer: Any) -> None:
    async with feed_of(orders_url) as (feed, _):
        await insert(writer, 1, 2, 3)
        assert await feed.take()
        assert await feed.shed(1, 0) == 2
        assert await ids(feed) == [3]


async def test_damaged_text_is_left_out_by_whoever_loads_the_feed_again(
    writer: Any, orders_url: str, redis_url: str
) -> None:
    """The database takes it for text, so that the client only finds it out when the batch is stored."""
    await writer.execute("create cast (bytea as text) without function")
    damaged = (
        "insert into realtime.outbox (schema_name, table_name, event, data)"
        " values ('public', 'orders', 'INSERT', cast('\\xff'::bytea as text))"
    )
    async with feed_of(orders_url) as (feed, _):
        await writer.execute(damaged)
        with pytest.raises(UnreadableBatch):
            await feed.take()
    settings = settings_at(redis_url, demo=project_at(orders_url))
    async with notifier(settings), witness(settings) as seen:
        await insert(writer, 1)
        await seen.sees(1)
        await writer.execute(damaged)
        await insert(writer, 2)
        await seen.sees(2)
        assert await seen.ids() == [1, 2]
    await writer.execute("drop cast (bytea as text)")
