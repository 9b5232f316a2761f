"""Installing the schema: once, whoever comes at once, whatever is busy; and by an administrator.

Long by the rights that may be missing.
"""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from realtime import names
from realtime.channels import Event, Table
from realtime.dev.postgres import postgres_program
from realtime.errors import ClientError, Code, Unavailable
from realtime.postgres.migrations import SCHEMA_VERSION, Installation, is_installed, migrate, migration_sql
from tests.postgres_fixture import Database, fresh_database

ITEMS = Table("public", "items")
NEXT = Installation(version=SCHEMA_VERSION + 1)


async def everything(connection: Any) -> set[tuple[Any, ...]]:
    """What is in the schema, by the rows of the catalogue that would change if it were made again."""
    rows = await connection.fetch("""
        select 'function', proname::text, p.xmin::text from pg_proc p
        where pronamespace = 'realtime'::regnamespace
        union all
        select 'relation', relname::text, c.xmin::text from pg_class c
        where relnamespace = 'realtime'::regnamespace and relkind in ('r', 'v', 'S')
        union all
        select 'feed', s1::text || s2::text, xmin::text from realtime.feed
    """)
    return {tuple(row) for row in rows}


def names_of(things: set[tuple[Any, ...]]) -> set[tuple[str, str]]:
    return {(kind, name) for kind, name, _ in things}


async def make_role(database: Database, name: str, options: str = "") -> None:
    await database.superuser.execute(f"create role {name} login password '{name}' {options}")


async def test_a_second_migration_changes_nothing(database: Database) -> None:
    assert not await is_installed(database.superuser)
    await migrate(database.superuser)
    assert await is_installed(database.superuser)
    before = await everything(database.superuser)
    await migrate(database.superuser)
    assert await everything(database.superuser) == before


async def test_the_feed_begins_before_everything_and_is_one_row(database: Database) -> None:
    await migrate(database.superuser)
    row = await database.superuser.fetchrow("select batch, s1::text, s2::text from realtime.feed")
    assert tuple(row) == (0, "1:1:", "1:1:")
    await database.superuser.execute("update realtime.version set version = 0")
    await migrate(database.superuser)
    assert await database.superuser.fetchval("select count(*) from realtime.feed") == 1


async def test_an_upgrade_keeps_the_changes_the_position_and_the_triggers(database: Database) -> None:
    await database.superuser.execute("create table items (id int)")
    enabled = await database.catalogue.enable(ITEMS, list(Event), None, 1000)
    await database.superuser.execute("insert into items values (1)")
    await database.superuser.execute("update realtime.feed set batch = 7")
    await migrate(database.superuser, NEXT)
    await database.superuser.execute("insert into items values (2)")
    assert [data for _, _, data, _ in await database.captured()] == ['{"id": 1}', '{"id": 2}']
    assert await database.superuser.fetchval("select batch from realtime.feed") == 7
    assert await database.superuser.fetchval("select version from realtime.version") == NEXT.version
    assert await database.catalogue.enabled() == [enabled]


async def test_a_schema_from_before_the_marks_is_upgraded(database: Database) -> None:
    await migrate(database.superuser)
    whole = names_of(await everything(database.superuser))
    await database.superuser.execute("""
        drop table realtime.mark; drop function realtime.one_feed_v1 cascade;
        alter table realtime.feed drop column token, add primary key (singleton);
        update realtime.feed set batch = 7; update realtime.version set version = 1;
    """)
    await migrate(database.superuser)
    assert names_of(await everything(database.superuser)) == whole
    row = await database.superuser.fetchrow("select batch, token from realtime.feed")
    assert tuple(row) == (7, "")


async def test_a_newer_schema_is_left_alone(database: Database) -> None:
    await migrate(database.superuser)
    await database.superuser.execute("update realtime.version set version = 99")
    before = await everything(database.superuser)
    await migrate(database.superuser)
    assert await everything(database.superuser) == before


async def test_many_processes_may_migrate_at_once(database: Database) -> None:
    async def one() -> None:
        async with database.session() as connection:
            await migrate(connection)

    await asyncio.gather(*(one() for _ in range(6)))
    assert await database.superuser.fetchval("select count(*) from realtime.version") == 1


async def test_databases_of_one_server_may_migrate_at_once(database: Database, postgres_url: str) -> None:
    async with fresh_database(postgres_url, "neighbour") as other:
        await asyncio.gather(migrate(database.superuser), migrate(other.superuser))
        assert await is_installed(other.superuser)


async def test_an_upgrade_does_not_wait_for_writers_nor_they_for_it(database: Database) -> None:
    await database.superuser.execute("create table items (id int)")
    await database.catalogue.enable(ITEMS, list(Event), None, 1000)
    async with database.session(lock_timeout="1s") as writer, writer.transaction():
        await writer.execute("insert into items values (1)")
        await migrate(database.superuser, NEXT)
        await writer.execute("insert into items values (2)")
    assert len(await database.captured()) == 2


async def test_installing_does_not_wait_for_writers(database: Database) -> None:
    await database.superuser.execute("create table items (id int)")
    async with database.session() as writer, writer.transaction():
        await writer.execute("insert into items values (1)")
        await migrate(database.superuser)
    assert await is_installed(database.superuser)


async def test_a_migration_that_somebody_else_holds_up_is_unavailable(database: Database) -> None:
    await migrate(database.superuser)
    await database.superuser.execute("update realtime.version set version = 1")
    async with database.session(application_name="forgotten") as other, other.transaction():
        await other.execute("lock table realtime.version in share update exclusive mode")
        pid = await other.fetchval("select pg_backend_pid()")
        with pytest.raises(Unavailable) as refused:
            await migrate(database.superuser, Installation(lock_wait="10ms", pause_seconds=0.001))
        assert refused.value.message == (
            "schema realtime cannot be installed now: canceling statement due to lock timeout;"
            f" locks are held by role postgres (pid {pid}, 'forgotten')"
        )
    await migrate(database.superuser)


async def test_a_failed_migration_leaves_nothing(database: Database) -> None:
    with pytest.raises(asyncpg.UndefinedFunctionError):
        await migrate(database.superuser, Installation(scripts=("owner", "schema", "rights")))
    assert not await is_installed(database.superuser)
    assert await database.superuser.fetchval("select to_regrole('realtime_owner') is null")


async def test_a_role_with_createrole_installs_and_is_no_member_afterwards(database: Database) -> None:
    await make_role(database, "app", "createrole")
    await database.superuser.execute(
        f"grant create on database {database.name} to app; grant create on schema public to app"
    )
    async with database.session("app") as app:
        await app.execute("create table items (id int primary key)")
        await database.catalogue_of("app").enable(ITEMS, list(Event), None, 1000)
        await app.execute("insert into items values (1)")
        assert [data for _, _, data, _ in await database.captured()] == ['{"id": 1}']
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute("set role realtime_owner")
        await app.execute("update realtime.feed set batch = 1")
        await app.execute("delete from realtime.outbox")
    owners = await database.superuser.fetch(
        "select distinct proowner::regrole::text from pg_proc where prosecdef"
        " and pronamespace = 'realtime'::regnamespace"
    )
    assert [row[0] for row in owners] == ["realtime_owner"]


async def test_an_ordinary_role_is_told_what_it_lacks(database: Database) -> None:
    await make_role(database, "app")
    async with database.session("app") as app:
        with pytest.raises(ClientError) as refused:
            await migrate(app)
    assert refused.value.code is Code.FORBIDDEN
    assert refused.value.message == (
        f"role app lacks CREATE on database {database.name} to create schema realtime"
        " and CREATEROLE to create realtime_owner;"
        " an administrator may run what `realtime migrate --print-sql` prints"
    )


async def test_a_role_that_may_not_give_the_owner_away_is_told_so(database: Database) -> None:
    await database.superuser.execute("create role realtime_owner nologin")
    await make_role(database, "app", "createrole")
    await database.superuser.execute(f"grant create on database {database.name} to app")
    async with database.session("app") as app:
        with pytest.raises(ClientError, match="role app lacks ADMIN OPTION on role realtime_owner"):
            await migrate(app)


@pytest.mark.parametrize("too_much", ["superuser", "login", "bypassrls", "in role app"])
async def test_an_owner_role_that_may_do_anything_stops_the_installation(
    database: Database, too_much: str
) -> None:
    await make_role(database, "app")
    await database.superuser.execute(f"create role realtime_owner {too_much}")
    with pytest.raises(ClientError, match="realtime_owner exists and may do more than nothing"):
        await migrate(database.superuser)


@pytest.mark.parametrize("role", ["app", 'Odd "role\'s" name'])
async def test_what_is_printed_for_an_administrator_lets_an_ordinary_role_enable(
    database: Database, tmp_path: Path, role: str
) -> None:
    quoted = '"' + role.replace('"', '""') + '"'
    await database.superuser.execute(f"create role {quoted} login")
    await database.superuser.execute(f"grant create on schema public to {quoted}")
    script = tmp_path / "migrate.sql"
    script.write_text(migration_sql(role))
    for _ in range(2):
        await _psql(database, script)
    async with database.session() as app:
        await app.execute(f"set session authorization {quoted}")
        await app.execute("create table items (id int primary key)")
        before = await everything(database.superuser)
        await migrate(app)
        assert await everything(database.superuser) == before
        await database.superuser.execute(f"alter role {quoted} password 'known'")
        catalogue = database.catalogue_of(role, "known")
        enabled = await catalogue.enable(ITEMS, list(Event), None, 1000)
        await app.execute("insert into items values (1)")
        assert await catalogue.enabled() == [enabled]
        assert await catalogue.mend_partitions() == 0
        assert await app.fetchval("select data from realtime.outbox") == '{"id":1}'
        await app.execute("delete from realtime.outbox")
        await app.execute("update realtime.feed set batch = 1")
        await catalogue.disable(ITEMS)
        for forbidden in (
            "insert into realtime.outbox (schema_name, table_name, event, data) values ('', '', '', '')",
            "update realtime.outbox set data = ''",
            "delete from realtime.feed",
            "create table realtime.mine ()",
            "set role realtime_owner",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app.execute(forbidden)


async def test_a_role_without_rights_in_an_installed_schema_is_told_so(database: Database) -> None:
    await migrate(database.superuser)
    await make_role(database, "app")
    for attempt in (database.catalogue_of("app").enabled(), database.catalogue_of("app").mend_partitions()):
        with pytest.raises(ClientError, match="role app lacks rights in schema realtime"):
            await attempt


async def test_the_public_may_do_nothing_in_the_schema(database: Database) -> None:
    await migrate(database.superuser)
    await make_role(database, "stranger")
    assert not await database.superuser.fetchval(
        """
        select bool_or(has_schema_privilege('stranger', 'realtime', p))
        from unnest('{USAGE,CREATE}'::text[]) p
        """
    )
    assert not await database.superuser.fetchval("""
        select bool_or(has_function_privilege('stranger', oid, 'EXECUTE')) from pg_proc
        where pronamespace = 'realtime'::regnamespace
    """)
    assert not await database.superuser.fetchval("""
        select bool_or(has_table_privilege('stranger', oid, 'SELECT, INSERT, UPDATE, DELETE')) from pg_class
        where relnamespace = 'realtime'::regnamespace and relkind in ('r', 'v')
    """)


async def test_the_sql_has_the_names_of_the_vocabulary(database: Database) -> None:
    await database.superuser.execute("create table items (id int)")
    await database.catalogue.enable(ITEMS, list(Event), None, 1000)
    found = await database.superuser.fetch(
        "select tgname::text from pg_trigger where tgrelid = 'items'::regclass"
    )
    assert {row[0] for row in found} == set(names.TRIGGERS.values())
    functions = await database.superuser.fetch(
        "select prosrc from pg_proc where pronamespace = 'realtime'::regnamespace and prosecdef"
    )
    assert len(functions) == 11
    for row in functions:
        assert "pg_sequence_last_value('realtime.silent_until'::regclass)" in row[0]
    bell = await database.superuser.fetchval("select prosrc from pg_proc where proname = 'ring_v1'")
    assert f"pg_notify('{names.DOORBELL}', '')" in bell


async def test_what_is_enabled_survives_a_dump_of_the_whole_database(
    database: Database, postgres_url: str, tmp_path: Path
) -> None:
    await database.superuser.execute("create table items (id int primary key, name text, gone int)")
    await database.superuser.execute("alter table items drop gone")
    enabled = await database.catalogue.enable(ITEMS, list(Event), ["id"], 1000)
    dump = tmp_path / "dump.sql"
    await _run(_program("pg_dump"), "--file", str(dump), database.url)
    async with fresh_database(postgres_url, "restored") as restored:
        await _psql(restored, dump)
        assert await restored.catalogue.enabled() == [enabled]
        await restored.superuser.execute("insert into items values (1, 'a')")
        assert [data for _, _, data, _ in await restored.captured()] == ['{"id": 1}']
        await migrate(restored.superuser)


async def _psql(database: Database, script: Path) -> None:
    psql = _program("psql")
    await _run(psql, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file", str(script), database.url)


def _program(name: str) -> str:
    return str(postgres_program(name))


async def _run(*command: str) -> None:
    run = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await run.communicate()
    assert run.returncode == 0, errors.decode()
