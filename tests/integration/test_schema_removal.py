"""Taking schema realtime out by the SQL of docs/upgrades.md, for good or for another one.

Tables, rows and writers are unharmed; what was lost is told.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from realtime import names
from realtime.channels import Event, Table
from realtime.postgres.catalogue import Catalogue
from realtime.postgres.migrations import migrate
from realtime.postgres.pool import Database
from realtime.settings.config import Settings
from tests.docs_fixture import section
from tests.gateway_fixture import eventually
from tests.notifier_fixture import (
    PROJECT,
    Witness,
    begins_anew,
    enable,
    insert,
    notifier,
    position,
    project_at,
    session,
    settings_at,
)
from tests.schema_fixture import NO_ROLE, NO_TRIGGERS, demand, more, psql, rows, writers

ODD = Table("public", 'odd "name"')


@pytest_asyncio.fixture
async def settings(orders_url: str, redis_url: str) -> Settings:
    return settings_at(redis_url, demo=project_at(orders_url))


async def test_taking_it_out_leaves_tables_rows_and_writers_alone(
    settings: Settings, seen: Witness, orders_url: str, writer: Any
) -> None:
    await writer.execute('create table "odd ""name""" (id int) partition by list (id)')
    await writer.execute('create table "part\'s" partition of "odd ""name""" default')
    await enable_existing(orders_url, ODD)
    async with writers(orders_url) as committed:
        async with notifier(settings):
            await seen.sees(10)
        assert "failed" not in await psql(orders_url, NO_TRIGGERS + NO_ROLE)
        await more(committed)
    assert await rows(writer) == sorted(committed)
    assert await traces(writer) == []
    await writer.execute('insert into "odd ""name""" values (1)')


async def test_taking_it_out_gives_up_on_a_table_in_use_and_may_be_repeated(
    orders_url: str, writer: Any
) -> None:
    await enable(orders_url, Table("public", "users"))
    async with session(orders_url) as busy, busy.transaction():
        await busy.execute("insert into users values (1, 'note')")
        assert "lock timeout" in await psql(orders_url, NO_TRIGGERS.replace("2s", "100ms"))
        await insert(writer, 1)
    assert "failed" not in await psql(orders_url, NO_TRIGGERS + NO_ROLE)
    assert await traces(writer) == []


async def test_an_older_schema_in_place_of_a_newer_one_is_told_as_a_loss(
    settings: Settings, seen: Witness, orders_url: str, writer: Any
) -> None:
    async with notifier(settings):
        await insert(writer, 1)
        await seen.sees(1)
    before = await position(seen)
    await insert(writer, 2)
    await demand(writer, 99)
    assert "failed" not in await psql(orders_url, NO_TRIGGERS)
    await migrate(writer)
    async with notifier(settings):
        await begins_anew(seen, before)
        await enable(orders_url)
        await insert(writer, 3)
        after = await position(seen)

        async def published() -> bool:
            return (await position(seen)).offset > 0

        await eventually(published)
    assert after.epoch != before.epoch
    assert await seen.ids() == [3]
    assert await rows(writer) == [1, 2, 3]


@pytest.mark.standalone
async def test_what_is_left_in_redis_of_a_project_is_found_by_the_pattern_and_nothing_else(
    settings: Settings, seen: Witness, writer: Any, redis_url: str
) -> None:
    async with notifier(settings):
        await insert(writer, 1)
        await seen.sees(1)
    (pattern,) = re.findall(r"--pattern '(.*?)'", section("docs/upgrades.md", "Taking it out"))
    async with Redis.from_url(redis_url) as client:
        await client.set("realtime:{demo2:room}:meta", b"")
        await client.set("realtime:{demo2}:tables", b"")
        found = {key async for key in client.scan_iter(match=pattern)}
    assert found - {names.notifier(PROJECT).encode()} == {  # a lease goes by itself, in seconds
        b"realtime:{demo:table:public.orders}:meta",
        b"realtime:{demo:table:public.orders}:history",
        b"realtime:{demo}:tables",
    }


async def enable_existing(database_url: str, table: Table) -> None:
    database = Database(project_at(database_url))
    try:
        await Catalogue(database).enable(table, list(Event), None, 1000)
    finally:
        await database.close()


async def traces(connection: Any) -> list[str]:
    """What is left of the schema in the database, and of its role."""
    return [
        row[0]
        for row in await connection.fetch("""
            select tgname::text from pg_trigger where tgname like 'realtime%'
            union all select nspname::text from pg_namespace where nspname = 'realtime'
            union all select rolname::text from pg_roles where rolname = 'realtime_owner'
        """)
    ]
