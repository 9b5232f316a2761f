"""The catalogue: what it lists, what it refuses, and that a busy table is never blocked.

Long by the list of what is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from realtime.channels import Event, Table
from realtime.errors import ClientError, Code, Unavailable
from realtime.postgres.catalogue import Catalogue, Column, EnabledTable, TableInfo
from tests.change_stream import DEADLINE
from tests.postgres_fixture import Database, Sessions

ALL = tuple(Event)
LAYERS = 60
ITEMS = Table("public", "items")


@pytest.fixture
async def items(database: Database) -> Database:
    await database.superuser.execute("create table items (id int primary key, name text)")
    return database


@pytest.fixture
def impatient(database: Database) -> Catalogue:
    return Catalogue(Sessions(database.url), lock_seconds=0.2)


async def test_nothing_is_enabled_where_nothing_is_installed(items: Database) -> None:
    assert await items.catalogue.enabled() == []
    assert await items.catalogue.mend_partitions() == 0
    assert await items.catalogue.unguarded_partitions() == 0
    assert [info.enabled for info in await items.catalogue.tables()] == [None]
    await items.catalogue.disable(ITEMS)


async def test_enabling_again_replaces(items: Database) -> None:
    await items.catalogue.enable(ITEMS, ALL, None, 1000)
    second = await items.catalogue.enable(ITEMS, [Event.DELETE, Event.INSERT], ["name", "id", "name"], 500)
    assert second == EnabledTable(ITEMS, (Event.INSERT, Event.DELETE), ("name", "id"), 500)
    assert await items.catalogue.enabled() == [second]
    await items.superuser.execute("insert into items values (1, 'a'); update items set name = 'b'")
    assert [event for _, event, _, _ in await items.captured()] == ["INSERT"]


async def test_disabling_is_silent_at_once_and_enabling_speaks_again(items: Database) -> None:
    async with items.session() as writer:
        await items.catalogue.enable(ITEMS, ALL, None, 1000)
        await items.catalogue.disable(ITEMS)
        await writer.execute("insert into items values (1)")
        assert await items.catalogue.enabled() == []
        await items.catalogue.disable(ITEMS)
        enabled = await items.catalogue.enable(ITEMS, ALL, None, 1000)
        await writer.execute("insert into items values (2)")
    assert await items.catalogue.enabled() == [enabled]
    assert [data for _, _, data, _ in await items.captured()] == ['{"id": 2, "name": null}']


async def test_a_trigger_that_its_owner_disabled_is_not_enabled(items: Database) -> None:
    await items.catalogue.enable(ITEMS, ALL, None, 1000)
    await items.superuser.execute("alter table items disable trigger realtime_capture_update")
    assert [one.events for one in await items.catalogue.enabled()] == [(Event.INSERT, Event.DELETE)]
    await items.superuser.execute("alter table items disable trigger all")
    assert await items.catalogue.enabled() == []


async def test_a_dropped_table_is_no_longer_enabled(items: Database) -> None:
    await items.catalogue.enable(ITEMS, ALL, None, 1000)
    await items.superuser.execute("drop table items; create table items (id int)")
    assert await items.catalogue.enabled() == []


ORDERS_COLUMNS = (
    Column("id", "bigint"),
    Column("Line", "integer"),
    Column("price", "numeric(10,2)"),
    Column("tags", "text[]"),
)


async def test_tables_lists_what_the_role_may_use_and_nothing_of_the_system(database: Database) -> None:
    await database.superuser.execute("""
        create schema audit; create schema closed;
        create table orders (id bigint, "Line" int, price numeric(10,2), tags text[],
                             primary key ("Line", id));
        create table audit.log (at timestamptz);
        create table closed.secret (id int);
        create table mine (id int);
        create table parts (id int) partition by range (id);
        create table parts_1 partition of parts for values from (0) to (1);
        create view shown as select 1; create materialized view kept as select 1;
        create temp table passing (id int);
        create role app login password 'app';
        grant select on orders, parts to app;
        grant usage on schema audit to app;
        grant select (at) on audit.log to app;
        grant select on closed.secret to app;
    """)
    await database.catalogue.enable(Table("public", "orders"), [Event.INSERT], ["price"], 1000)
    await database.superuser.execute("""
        grant usage on schema realtime to app; grant select on all tables in schema realtime to app;
        grant update on realtime.feed to app; grant delete on realtime.outbox to app;
        grant insert, delete on realtime.mark to app;
    """)
    assert await database.catalogue_of("app").tables() == [
        TableInfo(Table("audit", "log"), (Column("at", "timestamp with time zone"),), (), None),
        TableInfo(
            Table("public", "orders"),
            ORDERS_COLUMNS,
            ("Line", "id"),
            EnabledTable(Table("public", "orders"), (Event.INSERT,), ("price",), 1000),
        ),
        TableInfo(Table("public", "parts"), (Column("id", "integer"),), (), None),
    ]
    everything = [str(info.table) for info in await database.catalogue.tables()]
    assert everything == ["audit.log", "closed.secret", "public.mine", "public.orders", "public.parts"]


async def test_a_name_means_an_exact_table_of_public_before_a_schema(database: Database) -> None:
    await database.superuser.execute("""
        create schema audit; create schema "a.b"; create table audit.logins (); create table audit.other ();
        create table "audit.logins" (); create table "a.b"."c.d" (); create table audit."x.y" ();
    """)
    resolve = database.catalogue.resolve
    assert await resolve("audit.logins") == Table("public", "audit.logins")
    assert await resolve("audit.other") == Table("audit", "other")
    assert await resolve("audit.x.y") == Table("audit", "x.y")
    assert await resolve("c.d", "a.b") == Table("a.b", "c.d")
    assert await resolve("logins", "audit") == Table("audit", "logins")


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("nothing", None),
        ("Items", None),
        ("", None),
        (".", None),
        ("items\0", None),
        ("items", "pub\ud800lic"),
        ("public.items", "public"),
        ("x" * 64, None),
        ("items; drop table items", None),
        ("shown", None),
        ("passing", None),
        ("pg_class", "pg_catalog"),
        ("pg_catalog.pg_class", None),
        ("realtime.outbox", None),
        ("tables", "information_schema"),
    ],
)
async def test_what_is_no_table_of_the_user_is_not_found(
    items: Database, name: str, schema: str | None
) -> None:
    await items.superuser.execute(f"create view shown as select 1; create table {'x' * 63} ()")
    await items.catalogue.enable(ITEMS, ALL, None, 1000)
    with pytest.raises(ClientError) as refused:
        await items.catalogue.resolve(name, schema)
    assert refused.value.code is Code.NOT_FOUND
    with pytest.raises(ClientError) as refused:
        await items.catalogue.enable(Table(schema or "public", name), ALL, None, 1000)
    assert refused.value.code is Code.NOT_FOUND


async def test_an_unknown_column_is_named(items: Database) -> None:
    with pytest.raises(ClientError, match=r"invalid_request: columns: public.items has no column 'Name'"):
        await items.catalogue.enable(ITEMS, ALL, ["id", "Name"], 1000)
    with pytest.raises(ClientError, match="invalid_request: columns"):
        await items.catalogue.enable(ITEMS, ALL, [], 1000)
    with pytest.raises(ClientError, match="invalid_request: events"):
        await items.catalogue.enable(ITEMS, [], None, 1000)
    assert await items.catalogue.enabled() == []


async def test_a_table_of_another_owner_is_forbidden_and_says_whose_it_is(items: Database) -> None:
    await items.catalogue.enable(ITEMS, ALL, None, 1000)
    await items.superuser.execute("""
        create role app login password 'app'; grant all on items to app;
        grant usage on schema realtime to app; grant all on all tables in schema realtime to app;
        grant execute on all functions in schema realtime to app;
    """)
    expected = "role app may not change the triggers of public.items: .*member of postgres, which owns"
    for attempt in (
        items.catalogue_of("app").enable(ITEMS, [Event.INSERT], None, 1),
        items.catalogue_of("app").disable(ITEMS),
    ):
        with pytest.raises(ClientError, match=expected) as refused:
            await attempt
        assert refused.value.code is Code.FORBIDDEN
    assert [one.events for one in await items.catalogue.enabled()] == [ALL]


@asynccontextmanager
async def busy(database: Database) -> AsyncIterator[Any]:
    """A writer with an open transaction on the table."""
    async with database.session() as writer:
        transaction = writer.transaction()
        await transaction.start()
        await writer.execute("insert into items values (1)")
        yield writer
        await transaction.rollback()


async def test_a_busy_table_is_unavailable_with_nothing_half_done(
    items: Database, impatient: Catalogue
) -> None:
    await items.superuser.execute("create table free (id int) partition by range (id)")
    await items.superuser.execute("create table items_2 (like items)")
    async with busy(items) as writer:
        with pytest.raises(
            Unavailable, match=rf"public.items is locked .* \(pid {writer.get_server_pid()}\)"
        ):
            await impatient.enable(ITEMS, ALL, None, 1000)
    assert await items.catalogue.enabled() == []
    assert await items.superuser.fetchval("select count(*) from pg_trigger where tgname ~ 'realtime'") == 0


async def test_tables_that_inherit_are_no_partitions_however_many_ways_lead_to_them(
    items: Database, impatient: Catalogue
) -> None:
    """Each layer has two tables, which inherit from both tables of the layer above."""
    above = ["items"]
    for layer in range(LAYERS):
        names = [f"heir_{layer}_{side}" for side in "ab"]
        for name in names:
            await items.superuser.execute(f"create table {name} () inherits ({', '.join(above)})")
        above = names
    async with busy(items) as writer, items.session() as other, other.transaction():
        await other.execute("lock table heir_0_a in exclusive mode")
        with pytest.raises(Unavailable, match=rf"locked .* \(pid {writer.get_server_pid()}\)"):
            await impatient.enable(ITEMS, ALL, None, 1000)
    await items.catalogue.enable(ITEMS, ALL, None, 1000)


async def test_a_busy_partition_leaves_its_parent_as_it_was(database: Database, impatient: Catalogue) -> None:
    await database.superuser.execute("""
        create table parent (id int) partition by range (id);
        create table items partition of parent for values from (0) to (9);
    """)
    parent = Table("public", "parent")
    enabled = await database.catalogue.enable(parent, [Event.INSERT], None, 1000)
    async with busy(database):
        with pytest.raises(Unavailable):
            await impatient.enable(parent, ALL, ["id"], 1000)
        with pytest.raises(Unavailable):
            await impatient.disable(parent)
    assert await database.catalogue.enabled() == [enabled]


async def test_writers_go_on_while_enable_and_disable_wait_for_a_busy_table(items: Database) -> None:
    await items.superuser.execute("create table elsewhere (id int)")
    for change in (
        lambda: items.catalogue.enable(ITEMS, ALL, None, 1000),
        lambda: items.catalogue.disable(ITEMS),
    ):
        async with items.session(lock_timeout="2s") as other, busy(items):
            waiting = asyncio.ensure_future(change())
            written = 0
            while not waiting.done():
                await other.execute("insert into items values ($1)", 100 + written)
                written += 1
            with pytest.raises(Unavailable):
                await waiting
            assert written > 10
            await other.execute("delete from items")
        await items.catalogue.enable(ITEMS, ALL, None, 1000)


async def test_enable_succeeds_when_the_writer_ends_in_time(items: Database) -> None:
    await items.catalogue.enable(Table("public", "items"), [Event.DELETE], None, 1000)
    async with busy(items):
        waiting = asyncio.ensure_future(items.catalogue.enable(ITEMS, ALL, None, 1000))
        await _until_somebody_waits(items)
    assert [await waiting] == await items.catalogue.enabled()


async def _until_somebody_waits(database: Database) -> None:
    async with asyncio.timeout(DEADLINE):
        while not await database.superuser.fetchval("select exists (select from pg_locks where not granted)"):
            await asyncio.sleep(0.01)


async def test_mend_leaves_a_locked_partition_for_later(database: Database) -> None:
    await database.superuser.execute("create table parent (id int) partition by range (id)")
    await database.catalogue.enable(Table("public", "parent"), ALL, None, 1000)
    await database.superuser.execute("""
        create table items partition of parent for values from (0) to (9);
        create table free partition of parent for values from (10) to (19);
    """)
    async with busy(database):
        assert await database.catalogue.mend_partitions() == 1
        assert await database.catalogue.unguarded_partitions() == 1
    assert await database.catalogue.mend_partitions() == 1
    assert await database.catalogue.unguarded_partitions() == 0


async def test_what_is_enabled_survives_dump_and_restore(items: Database, postgres_url: str) -> None:
    await items.superuser.execute("alter table items add gone int; alter table items drop gone")
    enabled = await items.catalogue.enable(ITEMS, [Event.INSERT], ["name"], 1000)
    statement = await items.superuser.fetchval(
        "select pg_get_triggerdef(oid) from pg_trigger where tgname = 'realtime_capture_insert'"
    )
    # What pg_dump writes of a trigger, and what a restored table looks like: other oids, other numbers.
    await items.superuser.execute("drop table items; create table items (id int primary key, name text)")
    await items.superuser.execute(statement)
    assert await items.catalogue.enabled() == [enabled]
    await items.superuser.execute("insert into items values (1, 'a')")
    assert [data for _, _, data, _ in await items.captured()] == ['{"name": "a"}']


async def test_a_cancelled_enable_leaves_nothing(items: Database) -> None:
    async with busy(items):
        waiting = asyncio.ensure_future(items.catalogue.enable(ITEMS, ALL, None, 1000))
        await _until_somebody_waits(items)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert await items.catalogue.enabled() == []


async def test_a_read_only_database_is_unavailable(items: Database) -> None:
    await items.catalogue.enable(ITEMS, ALL, None, 1000)
    await items.superuser.execute(f"alter database {items.name} set default_transaction_read_only = on")
    with pytest.raises(Unavailable, match="read-only"):
        await items.catalogue.disable(ITEMS)
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        async with items.session() as writer:
            await writer.execute("insert into items values (1)")
