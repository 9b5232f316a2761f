"""A store that goes back in time is found out, and a new epoch begins: no silence, no wrong `since`.

Long by the ways in which a store can go back; each is played on real servers.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio

from notifier.errors import FeedMoved
from notifier.feed.timings import FeedTimings
from notifier.sessions import connect
from notifier.timings import Timings
from realtime import names
from realtime.channels import Table
from realtime.publications import Position
from realtime.redis.client import Command
from realtime.settings.config import Settings
from tests.gateway_fixture import eventually
from tests.notifier_fixture import (
    LISTENING,
    ORDERS,
    PROJECT,
    Witness,
    asleep,
    begins_anew,
    enable,
    insert,
    notifier,
    position,
    project_at,
    publisher_of,
    session,
    settings_at,
    witness,
)
from tests.servers import throw_away_postgres

USERS = Table("public", "users")


@pytest_asyncio.fixture
async def orders_url(database_url: str) -> str:
    await enable(database_url)
    await enable(database_url, USERS)
    return database_url


@pytest_asyncio.fixture
async def settings(orders_url: str, redis_url: str) -> Settings:
    return settings_at(redis_url, demo=project_at(orders_url))


class Replica:
    """What Redis had of a topic at one time, as a replica that lags behind has it."""

    def __init__(self, seen: Witness, table: Table = ORDERS) -> None:
        self._store = seen.broker.store
        self._keys = (names.topic_meta(PROJECT, table.topic), names.topic_history(PROJECT, table.topic))
        self._values: list[bytes | None] = []

    async def copy(self) -> None:
        self._values = [await self._store.call("DUMP", key) for key in self._keys]

    async def promote(self) -> None:
        """In one go: a notifier that looks finds all of what was, or all of what is."""
        await self._store.call_many(
            [
                Command(key, ("DEL", key) if value is None else ("RESTORE", key, 0, value, "REPLACE"))
                for key, value in zip(self._keys, self._values, strict=True)
            ]
        )


async def test_redis_that_went_back_is_noticed_while_nothing_is_written(
    settings: Settings, seen: Witness, writer: Any
) -> None:
    replica = Replica(seen)
    async with notifier(settings):
        await insert(writer, 1)
        await insert(writer, 1, table=USERS)
        await seen.sees(1)
        await seen.sees(1, USERS)
        await asleep(writer)
        await replica.copy()
        await insert(writer, 2)
        await seen.sees(2)
        before, others = await position(seen), await position(seen, USERS)
        await replica.promote()
        await begins_anew(seen, before)
        assert await position(seen, USERS) == others
        await insert(writer, 3)
        await seen.sees(1)
        assert await seen.ids() == [3]


async def test_redis_that_went_back_takes_nothing_that_does_not_follow(
    settings: Settings, seen: Witness, writer: Any
) -> None:
    """Not even before the next check of the checkpoints."""
    replica = Replica(seen)
    async with notifier(settings, timings=Timings(feed=FeedTimings(check_seconds=3600.0))):
        await insert(writer, 1)
        await seen.sees(1)
        await replica.copy()
        await insert(writer, 2)
        await seen.sees(2)
        before = await position(seen)
        await replica.promote()
        await insert(writer, 3)
        await begins_anew(seen, before)
        await seen.sees(1)
        assert await seen.ids() == [3]


async def test_redis_that_went_back_while_no_notifier_ran_is_noticed(
    settings: Settings, seen: Witness, writer: Any
) -> None:
    replica = Replica(seen)
    async with notifier(settings):
        await insert(writer, 1)
        await seen.sees(1)
        await replica.copy()
        await insert(writer, 2)
        await seen.sees(2)
        before = await position(seen)
        await asleep(writer)
    await replica.promote()
    await insert(writer, 3)
    async with notifier(settings):
        await begins_anew(seen, before)
        await seen.sees(1)
        assert await seen.ids() == [3]


async def test_an_emptied_redis_begins_every_table_anew_once(
    settings: Settings, seen: Witness, writer: Any
) -> None:
    async with notifier(settings):
        await insert(writer, 1)
        await seen.sees(1)
        before = await position(seen)
        await seen.broker.store.everywhere("FLUSHALL")

        async def marked() -> bool:
            return (await seen.publications.checkpoints(PROJECT, [ORDERS.topic]))[ORDERS.topic] != ""

        await eventually(marked)
        await begins_anew(seen, before)
        now = await position(seen)
        await insert(writer, 2)
        await seen.sees(1)
        assert await position(seen) == Position(now.epoch, 1)


async def earlier(connection: Any) -> dict[str, list[str]]:
    """What a dump of the schema has, a row as JSON."""
    return {
        name: [row[0] for row in await connection.fetch(f"select to_json(t)::text from realtime.{name} t")]
        for name in ("feed", "mark", "outbox")
    }


async def restore(connection: Any, dump: dict[str, list[str]]) -> None:
    """Put a dump back into the same database, as `pg_restore --clean` does."""
    async with connection.transaction():
        for name, rows in dump.items():
            await connection.execute(f"delete from realtime.{name}")
            for row in rows:
                await connection.execute(
                    f"insert into realtime.{name} overriding system value"
                    f" select * from json_populate_record(null::realtime.{name}, $1)",
                    row,
                )


@pytest.mark.parametrize("missing", ["feed", "version"])
async def test_a_restore_that_has_not_come_to_its_end_is_waited_for(
    settings: Settings, seen: Witness, writer: Any, missing: str
) -> None:
    """Without `--single-transaction` tables are there before their rows."""
    async with notifier(settings):
        await insert(writer, 1)
        await seen.sees(1)
        await asleep(writer)
        rows = [row[0] for row in await writer.fetch(f"select to_json(t)::text from realtime.{missing} t")]
        await writer.execute(f"delete from realtime.{missing}")
        await insert(writer, 2)
        for _ in range(2):
            await writer.execute(f"select pg_terminate_backend(pid) from ({LISTENING}) as s")
            await eventually(lambda: writer.fetchval(f"select count(*) > 0 from ({LISTENING}) as s"))
        for row in rows:
            await writer.execute(
                f"insert into realtime.{missing}"
                f" select * from json_populate_record(null::realtime.{missing}, $1)",
                row,
            )
        await seen.sees(2)
        assert await seen.ids() == [1, 2]


async def test_a_dump_that_is_loaded_beside_a_feed_brings_no_other_one(writer: Any) -> None:
    with pytest.raises(asyncpg.RaiseError, match="has its feed already"):
        await writer.execute("insert into realtime.feed (s1, s2) values ('1:1:', '1:1:')")


@pytest.mark.parametrize("running", [True, False], ids=["while a notifier runs", "while none runs"])
async def test_a_dump_that_is_put_back_into_its_database_begins_the_tables_anew_that_moved_since(
    settings: Settings, seen: Witness, writer: Any, running: bool
) -> None:
    async with notifier(settings):
        await insert(writer, 1)
        await insert(writer, 1, table=USERS)
        await seen.sees(1, USERS)
        await asleep(writer)
        dump = await earlier(writer)
        await insert(writer, 2)
        await seen.sees(2)
        before, others = await position(seen), await position(seen, USERS)
        if running:
            await restore(writer, dump)
            await insert(writer, 3)
            await begins_anew(seen, before)
    if not running:
        await restore(writer, dump)
        await insert(writer, 3)
    async with notifier(settings):
        await begins_anew(seen, before)
        await insert(writer, 4)
        await seen.sees(2)
        assert await seen.ids() == [3, 4]
        assert await position(seen, USERS) == others


async def test_another_database_with_the_feed_of_the_first_begins_everything_anew(
    settings: Settings, seen: Witness, orders_url: str, writer: Any, postgres_url: str, redis_url: str
) -> None:
    """As after a restore under a new name: its transaction ids say nothing about the feed's snapshots."""
    async with notifier(settings):
        await insert(writer, 1)
        await insert(writer, 1, table=USERS)
        await seen.sees(1)
        await seen.sees(1, USERS)
    await writer.execute("insert into orders values (2, 'captured, and never published')")
    await writer.close()
    name = urlsplit(orders_url).path[1:]
    async with session(postgres_url) as administrator:
        await administrator.execute(f"create database restored template {name}")
    before, others = await position(seen), await position(seen, USERS)
    restored = urlsplit(orders_url)._replace(path="/restored").geturl()
    try:
        async with notifier(settings_at(redis_url, demo=project_at(restored))):
            await begins_anew(seen, before)
            await begins_anew(seen, others, USERS)
            async with session(restored) as connection:
                await insert(connection, 3)
            await seen.sees(1)
            assert await seen.ids() == [3]
        async with notifier(settings_at(redis_url, demo=project_at(restored))):
            async with session(restored) as connection:
                await insert(connection, 4)
            await seen.sees(2)
            assert await seen.ids() == [3, 4]
    finally:
        async with session(postgres_url) as administrator:
            await administrator.execute("drop database restored with (force)")


async def test_a_server_whose_files_are_put_back_begins_the_tables_anew_that_moved_since(
    redis_url: str, tmp_path: Path
) -> None:
    """As after a restore of a base backup: identity, transaction ids and the numbers of changes repeat."""
    served, backup = tmp_path / "served", tmp_path / "backup"
    async with throw_away_postgres(served) as server:
        await enable(server.url)
        await enable(server.url, USERS)
        settings = settings_at(redis_url, demo=project_at(server.url))
        async with notifier(settings), witness(settings) as seen, session(server.url) as writer:
            await insert(writer, 1)
            await insert(writer, 1, table=USERS)
            await seen.sees(1)
            await seen.sees(1, USERS)
            await asleep(writer)
    shutil.copytree(served, backup)
    async with witness(settings) as seen:
        async with throw_away_postgres(served), notifier(settings), session(server.url) as writer:
            await insert(writer, 2)
            await seen.sees(2)
            await asleep(writer)
        before, others = await position(seen), await position(seen, USERS)
        shutil.rmtree(served)
        backup.rename(served)
        async with throw_away_postgres(served), notifier(settings), session(server.url) as writer:
            await insert(writer, 3)
            await begins_anew(seen, before)
            await seen.sees(1)
            assert await seen.ids() == [3]
            assert await position(seen, USERS) == others


async def test_a_feed_from_the_future_begins_anew(settings: Settings, seen: Witness, writer: Any) -> None:
    """As after a restore of files that keeps the database's identity, beside a feed that is younger."""
    async with notifier(settings):
        await insert(writer, 1)
        await seen.sees(1)
        await asleep(writer)
    before = await position(seen)
    await writer.execute("update realtime.feed set s1 = '999999999:999999999:', s2 = '999999999:999999999:'")
    async with notifier(settings):
        await begins_anew(seen, before)
        await insert(writer, 2)
        await seen.sees(1)
        assert await seen.ids() == [2]


@pytest_asyncio.fixture
async def leaders(orders_url: str) -> AsyncIterator[tuple[Any, Any]]:
    """Two sessions that both take themselves for the leader."""
    first, second = await connect(orders_url), await connect(orders_url)
    yield first, second
    first.terminate()
    second.terminate()


async def test_who_leads_no_more_moves_and_resets_nothing(
    settings: Settings,
    seen: Witness,
    writer: Any,
    leaders: tuple[Any, Any],
) -> None:
    at_once = FeedTimings(check_seconds=0.0)
    stale, leader = (publisher_of(settings, seen.publications, one, at_once) for one in leaders)
    await insert(writer, 1)
    await stale.begin()
    await insert(writer, 2)
    assert await stale.feed.take()
    await leader.begin()
    await insert(writer, 3)
    await leader.publish_next()
    before = await position(seen)
    with pytest.raises(FeedMoved):
        await stale.publish_batch()
    with pytest.raises(FeedMoved):
        await stale.check_if_due()
    assert await position(seen) == before
    assert await seen.ids() == [1, 2, 3]
    leaders[0].terminate()
    with pytest.raises((asyncpg.InterfaceError, FeedMoved)):
        await stale.publish_batch()
    assert await position(seen) == before
