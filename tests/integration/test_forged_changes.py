"""What the owner of a table can slip into the outbox by a cast harms no other project and breaks no line.

A cast runs as the role that may add to the outbox, so it may add what no trigger of ours would write.
"""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from notifier.feed.bounds import FeedBounds
from realtime.settings.config import MAX_CHANGE_BYTES, Settings
from tests.expressions import value
from tests.gateway_fixture import eventually
from tests.notifier_fixture import (
    PROJECT,
    Witness,
    enable,
    insert,
    notifier,
    project_at,
    publisher_of,
    session,
    settings_at,
    witness,
)

FORGED = {
    "an event that is none": ("'STEAL'", "'{}'", "null"),
    "an event in small letters": ("'insert'", "'{}'", "null"),
    "no event": ("''", "'{}'", "null"),
    "data of several lines": ("'INSERT'", r"E'{\"id\":\n9}'", "null"),
    "an old row of several lines": ("'UPDATE'", "'{\"id\":9}'", r"E'{\n}\n'"),
}


@pytest_asyncio.fixture
async def settings(orders_url: str, other_url: str, redis_url: str) -> Settings:
    return settings_at(redis_url, demo=project_at(orders_url), other=project_at(other_url))


async def forge(writer: Any, forged: tuple[str, str, str]) -> None:
    """Add a change of `orders` as a cast could."""
    await forge_row(writer, "'public'", "'orders'", *forged)


async def forge_row(writer: Any, *values: str, count: int = 1) -> None:
    """Add rows as a cast could: with the rights of the role of the triggers, and no others."""
    async with writer.transaction():
        await writer.execute("set local role realtime_owner")
        await writer.execute(
            "insert into realtime.outbox (schema_name, table_name, event, data, old)"
            f" select {', '.join(values)} from generate_series(1, {count})"
        )


@pytest.mark.parametrize("kind", FORGED)
async def test_a_forged_change_stops_no_notifier_and_hides_no_change(
    settings: Settings, other_url: str, writer: Any, kind: str
) -> None:
    async with (
        notifier(settings),
        witness(settings) as demo,
        witness(settings, "other") as other,
        session(other_url) as other_writer,
    ):
        await insert(writer, 1)
        await demo.sees(1)
        await forge(writer, FORGED[kind])
        await insert(writer, 2)
        await insert(other_writer, 1)
        await other.sees(1)
        await last_is(demo, 2)
        assert await other.ids() == [1]
        assert [row_id for row_id in await demo.ids() if row_id != 9] == [1, 2]


ENDED = """'{"id":9},"channel":"chat","type":"broadcast","more":{}'"""
NO_ROWS = {
    "data that ends its object and goes on": ("'INSERT'", ENDED, "null"),
    "an old row that ends its object and goes on": ("'UPDATE'", "'{}'", ENDED),
    "data that is no object": ("'INSERT'", "'5'", "null"),
    "data that is no JSON": ("'INSERT'", "'{id}'", "null"),
    "no data": ("'INSERT'", "''", "null"),
    "no old row, which is not null": ("'UPDATE'", "'{}'", "''"),
}


@pytest.mark.parametrize("kind", NO_ROWS)
async def test_a_forged_change_without_one_object_for_a_row_is_left_out_and_hides_no_change(
    settings: Settings, writer: Any, kind: str
) -> None:
    """It would give the messages of clients another channel or type."""
    left_out = "realtime_notifier_left_out_changes_total"
    async with session(settings.projects[PROJECT].database_url) as reader, witness(settings) as seen:
        publisher = publisher_of(settings, seen.publications, reader)
        await publisher.begin()
        before = value(left_out, project=PROJECT)
        await forge(writer, NO_ROWS[kind])
        await insert(writer, 1)
        assert await publisher.publish_next() == 1
        assert await seen.ids() == [1]
        assert value(left_out, project=PROJECT) == before + 1


async def test_a_row_may_nest_as_deep_as_the_database_allows(settings: Settings, writer: Any) -> None:
    deep = "'{\"id\":9,\"tree\":' || repeat('[', 3000) || repeat(']', 3000) || '}'"
    async with session(settings.projects[PROJECT].database_url) as reader, witness(settings) as seen:
        publisher = publisher_of(settings, seen.publications, reader)
        await publisher.begin()
        await forge(writer, ("'INSERT'", f"({deep})::jsonb::text", "null"))
        assert await publisher.publish_next() == 1


async def last_is(seen: Witness, row_id: int) -> None:
    """Wait until a row was published, as the last one."""

    async def there() -> bool:
        return (await seen.ids())[-1:] == [row_id]

    await eventually(there)


HUGE = "repeat('x', 60000000)"
HONEST = ("'public'", "'orders'", "'INSERT'", "'{\"id\":9}'", "null")
COLUMNS = ("schema_name", "table_name", "event", "data", "old")


class Watched:
    """A session that remembers the largest text that Postgres sent it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.largest = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def fetch(self, *arguments: Any, **options: Any) -> list[Any]:
        rows: list[Any] = await self._connection.fetch(*arguments, **options)
        texts = [len(text) for row in rows for text in row.values() if isinstance(text, str)]
        self.largest = max([self.largest, *texts])
        return rows


@pytest.mark.parametrize("beside", [1, 1_500], ids=["in a small batch", "in a batch read by a cursor"])
@pytest.mark.parametrize("column", COLUMNS)
async def test_a_huge_forged_change_is_left_out_unread_and_hides_no_change(
    settings: Settings, writer: Any, column: str, beside: int
) -> None:
    huge = [HUGE if name == column else honest for name, honest in zip(COLUMNS, HONEST, strict=True)]
    left_out = "realtime_notifier_left_out_changes_total"
    async with session(settings.projects[PROJECT].database_url) as reader, witness(settings) as seen:
        watched = Watched(reader)
        publisher = publisher_of(settings, seen.publications, watched)
        await publisher.begin()
        before = value(left_out, project=PROJECT)
        await forge_row(writer, *HONEST, count=beside)
        await forge_row(writer, *huge)
        await insert(writer, 2)
        assert await publisher.publish_next() == beside + 1
        await insert(writer, 3)
        assert await publisher.publish_next() == 1
        await publisher.feed.confirm()
        assert await seen.ids() == [9] * beside + [2, 3]
        assert value(left_out, project=PROJECT) == before + 1
        found = await seen.publications.checkpoints(PROJECT, [*publisher.feed.checkpoints])
        assert publisher.feed.diverged(found, published=True) == {}
    assert watched.largest < 1_000_000


async def test_a_huge_forged_name_is_not_read_when_the_outbox_is_cut(settings: Settings, writer: Any) -> None:
    async with session(settings.projects[PROJECT].database_url) as reader, witness(settings) as seen:
        watched = Watched(reader)
        publisher = publisher_of(settings, seen.publications, watched)
        await publisher.begin()
        for column in ("schema_name", "table_name"):
            huge = [HUGE if name == column else honest for name, honest in zip(COLUMNS, HONEST, strict=True)]
            await forge_row(writer, *huge)
        await insert(writer, 1)
        assert await publisher.feed.shed(1, 0) == 2
    assert 255 <= watched.largest < 1_000_000


async def test_forged_names_of_tables_beyond_a_bound_are_left_out_and_hide_no_change(
    settings: Settings, writer: Any
) -> None:
    """Each would be remembered for ever: in Redis, in the database, and by the notifier."""
    left_out = "realtime_notifier_left_out_changes_total"
    async with session(settings.projects[PROJECT].database_url) as reader, witness(settings) as seen:
        publisher = publisher_of(settings, seen.publications, reader, bounds=FeedBounds(topics=10))
        await publisher.begin()
        before = value(left_out, project=PROJECT)
        await insert(writer, 1)
        for count in (4, 30, 30):
            await forge_row(writer, HONEST[0], "'t' || generate_series", *HONEST[2:], count=count)
        await insert(writer, 2)
        assert await publisher.publish_next() == 2 + 4 + 9 + 9
        await publisher.feed.confirm()
        assert value(left_out, project=PROJECT) == before + 21 + 21
        assert await publisher.publish_next() is None
        await forge_row(writer, HONEST[0], "'t' || generate_series", *HONEST[2:], count=30)
        assert await publisher.publish_next() == 9
        await publisher.feed.confirm()
        assert len(await seen.publications.noted_tables(PROJECT)) == 10
        assert len(publisher.feed.checkpoints) == 10
        found = await seen.publications.checkpoints(PROJECT, [*publisher.feed.checkpoints])
        assert publisher.feed.diverged(found, published=True) == {}
        assert await seen.ids() == [1, 2]


async def test_the_largest_change_that_settings_allow_goes_out_whole(settings: Settings, writer: Any) -> None:
    await enable(settings.projects[PROJECT].database_url, max_change_bytes=MAX_CHANGE_BYTES)
    async with notifier(settings), witness(settings) as seen:
        await writer.execute("insert into orders values (1, '')")
        empty = await writer.fetchval("select octet_length(row_to_json(o)::text) from orders o")
        await writer.execute("insert into orders values (2, repeat('x', $1))", MAX_CHANGE_BYTES - empty)
        await writer.execute("insert into orders values (3, repeat('x', $1))", MAX_CHANGE_BYTES - empty + 1)
        await seen.sees(3)
        whole, cut = (await seen.changes())[1:]
        assert len(whole["data"]["note"]) == MAX_CHANGE_BYTES - empty
        assert (cut["data"], cut["truncated"]) == ({"id": 3}, True)
