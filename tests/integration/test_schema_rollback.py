"""A new schema under load, an older program beside it, and the way back.

Writers go on all the while; in the end every row that they committed is there, and was published once.
"""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from notifier.leadership.lease_store import Claim, LeaseStore, Wish
from realtime import names
from realtime.channels import Event, Table
from realtime.postgres import migrations
from realtime.postgres.catalogue import Catalogue
from realtime.postgres.migrations import Installation, TooNew, migrate, migration_sql
from realtime.postgres.pool import Database
from realtime.redis.client import connect
from realtime.settings.config import Settings
from tests.expressions import value
from tests.gateway_fixture import eventually, stays
from tests.notifier_fixture import (
    ORDERS,
    PROJECT,
    Witness,
    enable,
    insert,
    notifier,
    notifier_with_a_port,
    project_at,
    session,
    settings_at,
)
from tests.schema_fixture import ENABLED, VERSION, demand, more, psql, rows, writers

ADVISORY = 3  # the last version in which the lead and the bell were advisory locks
TOO_NEW = f"{PROJECT}: the schema is newer than this program"


@pytest_asyncio.fixture
async def settings(orders_url: str, redis_url: str) -> Settings:
    return settings_at(redis_url, demo=project_at(orders_url))


async def downgrade(connection: Any) -> None:
    """Make the schema what version 3 installed: there the lead and the bell were advisory locks."""
    await connection.execute("""
        do $$
        declare
            function regprocedure;
        begin
            for function in select oid from pg_proc where proname like 'capture\\_%' loop
                execute replace(replace(regexp_replace(pg_get_functiondef(function),
                    '\\(to_timestamp.*is not true', 'LOCK'),
                    'to_timestamp(pg_sequence_last_value(''realtime.silent_until''::regclass)) >'
                    ' clock_timestamp()', 'not LOCK'),
                    'LOCK', 'pg_try_advisory_xact_lock_shared(8243101811091136875)');
            end loop;
        end
        $$;
        drop sequence realtime.silent_until;
        alter table realtime.feed drop column leader_pid, drop column leader_role, drop column leader_lock;
    """)
    await connection.execute("update realtime.version set version = $1", ADVISORY)


def faults() -> float:
    return value("realtime_notifier_faults_total", project=PROJECT)


async def test_an_upgrade_under_load_loses_nothing_and_stops_nobody(
    settings: Settings, seen: Witness, orders_url: str, writer: Any
) -> None:
    """From version 3, by the notifier itself; and to the next version while it runs."""
    await downgrade(writer)
    async with writers(orders_url) as committed:
        await more(committed)
        async with notifier(settings):
            await more(committed)
            await seen.sees(len(committed))
            await migrate(writer, Installation(version=migrations.SCHEMA_VERSION + 1))
            await more(committed)
            await seen.sees(len(committed))
    async with notifier(settings):
        await seen.sees(len(committed))
    assert sorted(await seen.ids()) == sorted(committed) == await rows(writer)
    assert await psql(orders_url, VERSION) == f"{migrations.SCHEMA_VERSION + 1}|{migrations.OLDEST_VERSION}\n"


async def test_old_and_new_notifiers_beside_each_other_have_one_leader(
    settings: Settings, seen: Witness, orders_url: str, writer: Any, redis_url: str
) -> None:
    await downgrade(writer)
    async with connect(redis_url) as store:
        registry = LeaseStore(store, "old", 60)
        async with session(orders_url, application_name=f"realtime notifier {PROJECT}") as old:
            await old.execute("select pg_advisory_lock($1::bigint)", names.LEADER_LOCK)
            await registry.leases([Claim(PROJECT, Wish.TAKE, "live")])

            async def publishes_nothing() -> bool:
                return await seen.offset() == 0

            async with notifier_with_a_port(settings) as new:
                await eventually(new.is_ready)
                await insert(writer, 1)
                assert await writer.fetchval("select version from realtime.version") == ADVISORY
                await stays(publishes_nothing, 1.0)  # beside the one that leads
                await old.close()
                await registry.leases([Claim(PROJECT, Wish.LEAVE)])
                await seen.sees(1)
                assert not await writer.fetchval("select pg_try_advisory_lock($1)", names.LEADER_LOCK)


async def test_an_older_program_goes_on_with_a_newer_schema_that_lets_it(
    settings: Settings, seen: Witness, orders_url: str, writer: Any
) -> None:
    async with writers(orders_url) as committed:
        async with notifier(settings):
            await seen.sees(10)
        await demand(writer, migrations.SCHEMA_VERSION)
        async with notifier(settings):
            await more(committed)
            await seen.sees(len(committed))
            await enable(orders_url, Table("public", "users"))
    async with notifier(settings):
        await seen.sees(len(committed))
    assert sorted(await seen.ids()) == sorted(committed)
    assert await writer.fetchval("select version from realtime.version") == 99


async def test_a_leader_stops_when_the_schema_becomes_a_newer_programs_and_loses_nothing(
    settings: Settings, seen: Witness, writer: Any
) -> None:
    async with notifier_with_a_port(settings) as leader:
        await insert(writer, 1)
        await seen.sees(1)
        await demand(writer, 99)
        await leader.tells(f"^{TOO_NEW}$")
        feed = await writer.fetch("select * from realtime.feed")
        await insert(writer, 2)
        # Through whole lives of the feed: it leads, looks at the schema, and gives up again.
        enough = faults() + 2
        await eventually(lambda: faults() >= enough)
        assert await writer.fetch("select * from realtime.feed") == feed
        assert await seen.ids() == [1]
        await demand(writer, migrations.SCHEMA_VERSION)
        await eventually(leader.is_ready)
        await seen.sees(2)
    assert await seen.ids() == [1, 2]


async def test_a_program_that_is_too_old_says_so_and_switches_nothing(orders_url: str, writer: Any) -> None:
    await demand(writer, 99)
    database = Database(project_at(orders_url))
    catalogue = Catalogue(database)
    told = f"version 99, which needs .* 99 or a newer one; this program knows {migrations.SCHEMA_VERSION}$"
    try:
        for asked in (
            catalogue.enable(ORDERS, [Event.INSERT], None, 1000),
            catalogue.disable(ORDERS),
            catalogue.enabled(),
            catalogue.mend_partitions(),
        ):
            with pytest.raises(TooNew, match=told):
                await asked
    finally:
        await database.close()
    with pytest.raises(TooNew, match=told):
        await migrate(writer)
    await demand(writer, 0)
    assert (await psql(orders_url, ENABLED)) == "orders|{DELETE,INSERT,UPDATE}|\n"


async def test_an_old_script_does_not_run_over_a_newer_schema(orders_url: str, writer: Any) -> None:
    await demand(writer, 0)
    before = await writer.fetch(
        "select proname, xmin from pg_proc where pronamespace = 'realtime'::regnamespace"
    )
    assert "version 99, and this script would bring it back to" in await psql(
        orders_url, migration_sql("app")
    )
    after = await writer.fetch(
        "select proname, xmin from pg_proc where pronamespace = 'realtime'::regnamespace"
    )
    assert (before, await writer.fetchval("select version from realtime.version")) == (after, 99)
