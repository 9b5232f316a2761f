"""The cast attack: `to_jsonb` runs a table owner's code. It gains nothing by it.

A table owner makes a type with a cast to json, whose function tries one crime; then somebody with every
right, the superuser, writes into the table. The function runs as the owner of the trigger function.
"""

from __future__ import annotations

import asyncpg
import pytest

from realtime.channels import Event, Table
from tests.postgres_fixture import Database

CRIMES = {
    "become superuser": "alter role mallory superuser",
    "make a superuser": "create role accomplice superuser",
    "become the superuser": "set local role postgres",
    "take the superuser's session": "set local session authorization postgres",
    "go back to the writer": "reset role; create table public.trophy ()",
    "read another's table": "perform secret from public.private",
    "write another's table": "insert into public.private values ('forged')",
    "read the outbox": "perform data from realtime.outbox",
    "delete from the outbox": "delete from realtime.outbox",
    "change the outbox": "update realtime.outbox set data = 'forged'",
    "empty the outbox": "truncate realtime.outbox",
    "take rows out with returning": "insert into realtime.outbox (schema_name, table_name, event, data)"
    " values ('', '', '', '') returning id into strict answer",
    "choose the transaction of a change": "insert into realtime.outbox"
    " (schema_name, table_name, event, data, xid) values ('', '', '', '', '1')",
    "choose the id of a change": "insert into realtime.outbox (id, schema_name, table_name, event, data)"
    " overriding system value values (1, '', '', '', '')",
    "move the feed": "update realtime.feed set batch = 99",
    "read the feed": "perform batch from realtime.feed",
    "put an object into the schema": "create table realtime.trophy ()",
    "replace a trigger function": "create or replace function realtime.capture_delete_v1() returns trigger"
    " language plpgsql as $f$ begin return null; end $f$",
    "replace a helper": "create or replace function realtime.ring_v1() returns void language sql as 'select'",
    "give a right away": "grant insert on realtime.outbox to mallory",
    "give the role away": "grant realtime_owner to mallory",
    "give the function away": "alter function realtime.capture_insert_v1() owner to mallory",
    "read a file": "perform pg_read_file('postgresql.conf')",
    "run a program": "copy (select 1) to program 'id'",
    "switch triggers off": "set local session_replication_role = replica",
    "load a library": "load 'plpgsql'",
}


@pytest.fixture
async def trap(database: Database) -> Database:
    """Mallory's table, enabled by an administrator, and a table that is none of Mallory's business."""
    await database.superuser.execute("""
        create role mallory login password 'mallory';
        grant create on schema public to mallory;
        create table private (secret text);
        insert into private values ('the secret');
    """)
    async with database.session("mallory") as mallory:
        await mallory.execute("create type bait as enum ('worm'); create table trap (id int, b bait)")
        await mallory.execute("create table diary (line text); grant insert on diary to public")
        await commit_crime(mallory, "null")
        await mallory.execute("create cast (bait as json) with function bait_to_json(bait)")
    await database.catalogue.enable(Table("public", "trap"), list(Event), None, 1000)
    return database


async def commit_crime(mallory: asyncpg.Connection, crime: str) -> None:
    await mallory.execute(f"""
        create or replace function bait_to_json(bait) returns json language plpgsql as $crime$
        declare
            answer text;
        begin
            insert into public.diary values (current_user);
            {crime};
            return '"harmless"';
        end
        $crime$
    """)


@pytest.mark.parametrize("crime", CRIMES)
async def test_a_cast_cannot(trap: Database, crime: str) -> None:
    async with trap.session("mallory") as mallory:
        await commit_crime(mallory, CRIMES[crime])
    await trap.superuser.execute("create table other (id int)")
    before = await trap.superuser.fetchval("select secret from private")
    with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.InvalidParameterValueError)):
        await trap.superuser.execute("insert into trap values (1, 'worm')")
    assert await trap.superuser.fetch("table private") == [(before,)]
    assert await trap.captured() == []
    assert not await trap.superuser.fetchval("select rolsuper from pg_roles where rolname = 'mallory'")


async def test_a_cast_runs_as_the_role_that_may_do_nothing(trap: Database) -> None:
    await trap.superuser.execute("insert into trap values (1, 'worm')")
    assert [row[0] for row in await trap.superuser.fetch("table diary")] == ["realtime_owner"]
    assert [data for _, _, data, _ in await trap.captured()] == ['{"b": "harmless", "id": 1}']


async def test_a_trap_on_the_search_path_is_not_stepped_into(trap: Database) -> None:
    async with trap.session("mallory") as mallory:
        await mallory.execute("""
            create function public.to_jsonb(record) returns jsonb language plpgsql as
                $$ begin insert into public.diary values ('stepped'); return '{}'; end $$;
            create function public.row_to_json(record) returns json language plpgsql as
                $$ begin return '{}'; end $$;
            create function public.pg_column_size(record) returns int language plpgsql as
                $$ begin return 0; end $$;
            create function public.minus(jsonb, text[]) returns jsonb language sql as
                $$ select 'null'::jsonb $$;
            create operator public.- (leftarg = jsonb, rightarg = text[], function = public.minus);
        """)
    async with trap.session(search_path="public, pg_catalog") as victim:
        await victim.execute("insert into trap values (1, null)")
    assert [data for _, _, data, _ in await trap.captured()] == ['{"b": null, "id": 1}']


async def test_a_trap_in_a_temporary_schema_is_not_stepped_into(trap: Database) -> None:
    async with trap.session() as victim:
        await victim.execute("""
            create function pg_temp.to_jsonb(record) returns jsonb language plpgsql as
                $$ begin return '{}'; end $$;
            create temp table pg_attribute (attrelid oid); create temp table outbox (data text);
        """)
        await victim.execute("insert into trap values (1, null)")
    assert [data for _, _, data, _ in await trap.captured()] == ['{"b": null, "id": 1}']
