"""A role that may connect to the database and nothing else holds whatever it can: changes go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from realtime import names
from realtime.channels import Table
from realtime.errors import Unavailable
from realtime.postgres.catalogue import Catalogue
from realtime.postgres.migrations import migrate, migration_sql
from realtime.postgres.pool import Database
from realtime.settings.config import Settings
from tests.change_stream import background
from tests.gateway_fixture import eventually
from tests.notifier_fixture import (
    Witness,
    asleep,
    enable,
    insert,
    late_changes,
    lead,
    notifier,
    project_at,
    session,
    settings_at,
)
from tests.schema_fixture import psql
from tests.stranger_fixture import Stranger, as_role, roles


@pytest_asyncio.fixture
async def service_url(database_url: str) -> AsyncIterator[str]:
    """An enabled table `orders`, and the URL of the role of the service, which is an ordinary one."""
    async with roles(database_url, service="", stranger=""):
        await enable(database_url)
        assert "failed" not in await psql(database_url, migration_sql("service"))
        yield as_role(database_url, "service")


@pytest_asyncio.fixture
async def writer(database_url: str, service_url: str) -> AsyncIterator[Any]:
    async with session(database_url) as connection:
        yield connection


@pytest.fixture
def stranger_url(service_url: str) -> str:
    return as_role(service_url, "stranger")


@pytest.fixture
def settings(service_url: str, redis_url: str) -> Settings:
    return settings_at(redis_url, demo=project_at(service_url))


@pytest_asyncio.fixture
async def stranger(stranger_url: str) -> AsyncIterator[Stranger]:
    async with AsyncExitStack() as sessions:
        yield Stranger(stranger_url, sessions)


async def test_whatever_a_stranger_holds_when_the_notifiers_start_changes_come(
    settings: Settings, seen: Witness, writer: Any, stranger: Stranger
) -> None:
    await stranger.hold_advisory_locks()
    assert {"feed", "outbox", "silent_until"} <= await stranger.hold_the_schema(writer)
    before = late_changes()
    for number in (1, 3):
        async with notifier(settings), notifier(settings):
            await insert(writer, number)
            await seen.sees(number)
            await asleep(writer)
            await insert(writer, number + 1)
            await seen.sees(number + 1)
    assert await seen.ids() == [1, 2, 3, 4]
    assert late_changes() == before, "the bell was not heard"


@pytest.mark.parametrize("mode", ["access share", "row exclusive", "share update exclusive", "exclusive"])
async def test_a_stranger_may_lock_nothing_of_the_schema_by_name(stranger: Stranger, mode: str) -> None:
    one = await stranger.session()
    for relation in ("feed", "outbox", "mark", "version", "armed_v1"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await one.execute(f"begin; lock table realtime.{relation} in {mode} mode nowait")
        await one.execute("rollback")


async def test_a_stranger_is_no_leader_though_it_holds_the_lock_of_one_that_is_gone(
    settings: Settings, seen: Witness, writer: Any, stranger: Stranger
) -> None:
    """Not even where it got the process id of that one."""
    one = await stranger.session()
    await one.execute("select pg_advisory_lock(7)")
    await lead(writer, 8)
    await writer.execute(
        "update realtime.feed set leader_pid = $1, leader_lock = 7",
        await one.fetchval("select pg_backend_pid()"),
    )
    async with notifier(settings):
        await insert(writer, 1)
        await seen.sees(1)


async def test_an_owner_that_locks_its_table_holds_up_its_own_writers_alone(
    settings: Settings, seen: Witness, writer: Any, stranger: Stranger, database_url: str
) -> None:
    """Wait until a change of another table is published."""
    await writer.execute(
        "create table rooms (id int, note text) partition by list (id); alter table rooms owner to stranger;"
        "create table room partition of rooms default; alter table room owner to stranger"
    )
    await enable(database_url, Table("public", "rooms"))
    one = await stranger.session()
    await one.execute("begin; lock table rooms in access exclusive mode")
    async with notifier(settings):
        await insert(writer, 1)
        await seen.sees(1)


async def test_a_migration_goes_on_under_former_locks_and_says_who_is_in_its_way(
    writer: Any, stranger: Stranger
) -> None:
    await stranger.hold_advisory_locks()
    await writer.execute("update realtime.version set version = 1")
    await migrate(writer)
    await stranger.hold_the_schema(writer)
    await writer.execute("update realtime.version set version = 1")
    with pytest.raises(
        Exception, match=r"cannot be installed now: .*; locks are held by role stranger \(pid"
    ):
        await migrate(writer)


async def test_notifications_of_a_stranger_stop_nothing(
    settings: Settings, seen: Witness, writer: Any, stranger: Stranger
) -> None:
    """Wait until each change is published."""

    async def shout() -> None:
        one = await stranger.session()
        while True:
            await one.execute(
                "select pg_notify($1, repeat('x', 7000) || i) from generate_series(1, 200) as i",
                names.DOORBELL,
            )

    async with notifier(settings), background(asyncio.create_task(shout(), name="shout")):
        for number in range(1, 21):
            await insert(writer, number)
            await seen.sees(number)


async def test_an_open_transaction_of_a_stranger_delays_no_change(
    settings: Settings, seen: Witness, writer: Any, stranger: Stranger
) -> None:
    """With a transaction id, so that no snapshot comes to be without it."""
    one = await stranger.session()
    await one.execute("begin; create temporary table mine ()")
    async with notifier(settings):
        for number in (1, 2, 3):
            await insert(writer, number)
            await seen.sees(number)


async def test_the_owner_of_the_database_does_not_choose_how_long_a_statement_may_take(
    settings: Settings, seen: Witness, writer: Any, stranger: Stranger
) -> None:
    """Wait until all changes are published, and until the outbox is empty."""
    name = await writer.fetchval("select current_database()")
    await writer.execute(f"alter database {name} owner to stranger")
    one = await stranger.session()
    for setting, value in (
        ("statement_timeout", "1ms"),
        ("lock_timeout", "1ms"),
        ("idle_in_transaction_session_timeout", "1ms"),
        ("default_transaction_read_only", "on"),
        ("default_transaction_isolation", "serializable"),
    ):
        await one.execute(f"alter database {name} set {setting} = '{value}'")
    await writer.execute(f"alter database {name} owner to postgres")
    async with notifier(settings):
        await insert(writer, *range(1, 100))
        await seen.sees(99)

        async def is_tidy() -> bool:
            return not await writer.fetchval("select exists (select from realtime.outbox)")

        await eventually(is_tidy)


async def test_a_partition_that_its_owner_locks_keeps_nobody_waiting_for_the_state_of_all_tables(
    writer: Any, stranger: Stranger, database_url: str
) -> None:
    await writer.execute(
        "create table rooms (id int, note text) partition by list (id);"
        "create table room partition of rooms default; alter table room owner to stranger"
    )
    await enable(database_url, Table("public", "rooms"))
    one = await stranger.session()
    await one.execute("begin; lock table room in access exclusive mode")
    database = Database(project_at(database_url))
    try:
        async with asyncio.timeout(20):  # the answer comes after a second; a command ends after 30
            for asked in (Catalogue(database).unguarded_partitions, Catalogue(database).mend_partitions):
                with pytest.raises(Unavailable, match="a partition of an enabled table is locked"):
                    await asked()
            assert len(await Catalogue(database).enabled()) == 2
    finally:
        await database.close()
