"""What a long transaction does to the outbox: it keeps the space until it ends, and slows no read meanwhile.

Judged by the plans that Postgres carries out, on sessions as the notifier and the gateways open them.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import pytest_asyncio

from notifier.feed.feed import Feed
from notifier.feed.snapshots import bounds, seen_since
from notifier.outbox_cleanup import PIECE_ROWS, OutboxCleanup
from notifier.sessions import connect, query
from realtime.postgres.backlog import COUNTED
from realtime.postgres.pool import Database
from realtime.settings.config import MAX_CHANGE_BYTES
from tests.notifier_fixture import enable, project_at, session
from tests.plans import ranges_ahead

FINISHED = 200_000
BURST = 50_000
ROW_BYTES = 100  # of a change in the outbox, at the least
FEW_PAGES = 50  # of the buffer cache; all that is finished lies on some 3,000
PAGE_BYTES = 8_192
BACKLOG = (files("realtime.postgres") / "sql" / "backlog.sql").read_text()


@dataclass
class Outbox:
    """The outbox of a database whose notifier keeps up: everything is published and deleted at once."""

    writer: Any
    reader: Any  # the notifier's session
    feed: Feed
    cleanup: OutboxCleanup

    async def fill(self, rows: int = FINISHED) -> None:
        """Write so many changes, in a few transactions, and publish them."""
        for _ in range(rows // BURST):
            note = "insert into orders select nextval('numbers'), 'a note of some length'"
            await self.writer.execute(f"{note} from generate_series(1, {BURST})")
            await self.publish()

    async def publish(self) -> None:
        await self.feed.take()
        await self.feed.confirm()
        while await self.cleanup.delete_published() == PIECE_ROWS:
            pass

    async def sizes(self) -> tuple[int, int]:
        """Bytes of the table and of its indexes, after a vacuum."""
        await self.writer.execute("vacuum realtime.outbox")
        row = await self.writer.fetchrow(
            "select pg_table_size('realtime.outbox') as rows, pg_indexes_size('realtime.outbox') as indexes"
        )
        return row["rows"], row["indexes"]


@pytest_asyncio.fixture
async def outbox(database_url: str) -> AsyncIterator[Outbox]:
    await enable(database_url)
    reader, database = await connect(database_url), Database(project_at(database_url))
    try:
        feed = Feed(reader)
        await feed.resume()
        async with session(database_url) as writer:
            await writer.execute("create sequence numbers")
            # Only the test's own vacuum is to show what comes back.
            await writer.execute("alter table realtime.outbox set (autovacuum_enabled = off)")
            yield Outbox(writer, reader, feed, OutboxCleanup(database))
    finally:
        await database.close()
        await reader.close(timeout=30)


@asynccontextmanager
async def long_transaction(database_url: str) -> AsyncIterator[Any]:
    """A session with a transaction that has written, and sees the database as it was before the block."""
    async with session(database_url) as connection:
        await connection.execute("begin isolation level repeatable read")
        await connection.execute("insert into orders values (0, 'late')")
        yield connection


async def test_no_read_meets_what_is_finished_while_a_long_transaction_keeps_it(
    outbox: Outbox, database_url: str
) -> None:
    async with long_transaction(database_url) as late:
        await outbox.fill()
        table, _ = await outbox.sizes()
        assert table > FINISHED * ROW_BYTES, "it is all there still"
        await outbox.writer.execute(
            "insert into orders select nextval('numbers'), 'note' from generate_series(1, 3)"
        )
        ranges = await ranges_ahead(outbox.writer, outbox.feed)
        plan = await explain(outbox.reader, query("batch"), *ranges, MAX_CHANGE_BYTES, None)
        assert row_count(plan) == 3
        expect_a_cheap_read(plan)
        async with session(database_url, enable_seqscan="off", jit="off") as asking:
            plan = await explain(asking, BACKLOG, COUNTED)
            expect_a_cheap_read(plan)
        published = outbox.feed.s1
        await outbox.publish()
        ranges = bounds(seen_since(published, outbox.feed.s1))
        async with session(database_url, enable_seqscan="off", jit="off") as tidying:
            plan = await explain(tidying, query("finished"), *ranges, PIECE_ROWS)
            expect_a_cheap_read(plan)
        await late.execute("commit")
    ranges = await ranges_ahead(outbox.writer, outbox.feed)
    plan = await explain(outbox.reader, query("batch"), *ranges, MAX_CHANGE_BYTES, None)
    assert row_count(plan) == 1, "what was late is read, and nothing else"
    expect_a_cheap_read(plan)


async def test_when_the_long_transaction_has_ended_the_space_comes_back(
    outbox: Outbox, database_url: str
) -> None:
    async with long_transaction(database_url) as late:
        await outbox.fill()
        kept_table, kept_indexes = await outbox.sizes()
        assert kept_table > FINISHED * ROW_BYTES, "nothing comes back before"
        await late.execute("commit")
    await outbox.publish()
    table, indexes = await outbox.sizes()
    assert table < FEW_PAGES * PAGE_BYTES, "the table gives its space back to the system"
    assert indexes == kept_indexes, "the indexes keep theirs, for later rows"
    # A page of an index that one vacuum empties is free from the next one on: two rounds have their place.
    await outbox.fill()
    settled = await outbox.sizes()
    assert settled[1] <= 2 * indexes
    for _ in range(2):
        await outbox.fill()
        assert await outbox.sizes() == settled, "rows come and go in the same space"


async def explain(connection: Any, statement: str, *arguments: Any) -> dict[str, Any]:
    """Carry a statement out and return its plan, with what it touched; it is undone."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        found = await connection.fetchval(f"explain (analyze, buffers, format json) {statement}", *arguments)
    finally:
        await transaction.rollback()
    plan: dict[str, Any] = json.loads(found)[0]["Plan"]
    return plan


def row_count(plan: dict[str, Any]) -> int:
    return int(plan["Actual Rows"])


def expect_a_cheap_read(plan: dict[str, Any]) -> None:
    scans = [node for node in nodes(plan) if node.get("Relation Name") == "outbox"]
    kinds = {(node["Node Type"], node.get("Index Name")) for node in scans} - {("ModifyTable", None)}
    assert kinds <= {("Index Scan", "outbox_xid"), ("Tid Scan", None)}, kinds
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < FEW_PAGES, plan


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)
