"""A table that needs no care has faster functions, which store the values that those for any table store.

Each table has a twin with the triggers of the functions for any table, and both see the same statements. A
table that schema version 6 enabled has functions that store the same, byte for byte.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from realtime.channels import Event, Table
from tests.column_types import STRANGE_WRITER, TYPES, USER_TYPES
from tests.postgres_fixture import Database

LEAN = [
    "smallint", "integer", "bigint", "numeric", "numeric(10,2)", "boolean", "text", "varchar(10)", "char(5)",
    '"char"', "name", "date", "time", "timestamp", "timestamptz", "bit(5)", "bit varying", "inet", "cidr",
    "macaddr", "macaddr8", "uuid", "jsonb", "oid", "cid", "integer[]", "text[]", "numeric[]", "timestamptz[]",
    "jsonb[]", "positive",
]  # fmt: skip

SESSIONS: list[dict[str, str]] = [
    {},
    STRANGE_WRITER,
    {"TimeZone": "America/St_Johns", "DateStyle": "SQL, DMY", "IntervalStyle": "iso_8601"},
    {"plan_cache_mode": "force_custom_plan", "extra_float_digits": "3", "bytea_output": "escape"},
    {
        "plan_cache_mode": "force_generic_plan",
        "search_path": "public, pg_catalog",
        "quote_all_identifiers": "on",
    },
    {"search_path": "", "standard_conforming_strings": "off", "jit_above_cost": "0", "xmlbinary": "hex"},
]

CAPTURED = """
select table_name, event, data, old, truncated, schema_name from realtime.outbox
where table_name = $1 order by id
"""


async def with_twin(
    database: Database, columns: str, max_change_bytes: int = 1_048_576, version: str = "v3"
) -> None:
    """Make tables `lean` and `twin` of these columns; `twin` has the functions for any table.

    `lean` has those of this version.
    """
    for name in ("lean", "twin"):
        await database.superuser.execute(f"create table {name} ({columns})")
        await database.catalogue.enable(Table("public", name), list(Event), None, max_change_bytes)
    assert await functions(database, "lean") == (V3 if max_change_bytes == 1_048_576 else LIMIT_V3)
    await change_functions(database, "twin", "(_limit)?_v3", "_v1")
    assert await functions(database, "twin") == V1
    await change_functions(database, "lean", "_v3", f"_{version}")


async def change_functions(database: Database, table: str, pattern: str, new: str) -> None:
    """Give the triggers of a table other functions."""
    rows = await database.superuser.fetch(
        "select regexp_replace(pg_get_triggerdef(oid), $2, $3) from pg_trigger"
        " where tgrelid = $1::text::regclass",
        table,
        pattern,
        new,
    )
    for row in rows:
        await database.superuser.execute(row[0].replace("CREATE", "create or replace", 1))


V1 = ["capture_delete_v1", "capture_insert_v1", "capture_update_v1"]
V3 = ["capture_delete_v3", "capture_insert_v3", "capture_update_v1"]
LIMIT_V3 = ["capture_delete_limit_v3", "capture_insert_limit_v3", "capture_update_v1"]


async def functions(database: Database, table: str) -> list[str]:
    rows = await database.superuser.fetch(
        "select proname::text from pg_trigger join pg_proc p on p.oid = tgfoid"
        " where tgrelid = $1::text::regclass and not tgisinternal order by 1",
        table,
    )
    return [row[0] for row in rows]


async def both(connection: Any, statement: str) -> None:
    """Run a statement on `public.TABLE` for the table and for its twin."""
    for name in ("lean", "twin"):
        await connection.execute(statement.replace("TABLE", name))


async def same(database: Database, at_least: int, *, to_the_byte: bool = False) -> None:
    lean, twin = [await database.superuser.fetch(CAPTURED, name) for name in ("lean", "twin")]
    assert len(lean) >= at_least
    read = tuple if to_the_byte else values
    assert [read(row)[1:] for row in lean] == [read(row)[1:] for row in twin]


def values(row: Any) -> tuple[Any, ...]:
    """A row of CAPTURED with its JSON texts as values, of which numbers keep every digit."""
    name, event, data, old, truncated, schema = row
    assert "\n" not in data
    return name, event, exact(data), old and exact(old), truncated, schema


def exact(text: str) -> Any:
    return json.loads(text, parse_int=str, parse_float=str)


@pytest.mark.parametrize("version", ["v2", "v3"])
async def test_every_lean_type_is_stored_the_same_in_every_session(database: Database, version: str) -> None:
    await database.superuser.execute(f"{USER_TYPES}; create domain known as text not null")
    columns = ", ".join(f"c{number} {type_name}" for number, type_name in enumerate(LEAN))
    await with_twin(database, f"id serial primary key, known known default '', {columns}", version=version)
    writes = 0
    for settings in SESSIONS:
        async with database.session(**settings) as writer:
            for number, type_name in enumerate(LEAN):
                spelled = f"public.{type_name}" if type_name == "positive" else type_name
                for value in TYPES[type_name]:
                    if "\\" in value and "standard_conforming_strings" in settings:
                        continue  # it is another literal there
                    await both(writer, f"insert into public.TABLE (c{number}) values (({value})::{spelled})")
                    writes += 1
            await both(writer, "insert into public.TABLE select from pg_catalog.generate_series(1, 3)")
            await both(writer, "update public.TABLE set c0 = 5")
            await both(writer, "delete from public.TABLE where c0 = 5")
    await same(database, 2 * writes, to_the_byte=version == "v2")


async def test_every_other_type_needs_care(database: Database) -> None:
    await database.superuser.execute(USER_TYPES)
    for type_name in TYPES.keys() - {*LEAN, "xml"}:
        await database.superuser.execute(f"create table careful (c {type_name})")
        await database.catalogue.enable(Table("public", "careful"), list(Event), None, 1000)
        assert await functions(database, "careful") == V1, type_name
        await database.superuser.execute("drop table careful")


@pytest.mark.parametrize(
    ("columns", "listed"),
    [
        ("id int, n int generated always as (id * 2) virtual", None),
        ("id int, n int", ["id"]),
        (", ".join(f"c{number} int" for number in range(41)), None),
    ],
    ids=["virtual columns", "listed columns", "many columns"],
)
async def test_a_table_needs_care_for(database: Database, columns: str, listed: list[str] | None) -> None:
    await database.superuser.execute(f"create table careful ({columns})")
    await database.catalogue.enable(Table("public", "careful"), list(Event), listed, 1000)
    assert await functions(database, "careful") == V1


@pytest.mark.parametrize("version", ["v2", "v3"])
@pytest.mark.parametrize("max_change_bytes", [200_000, 1_048_576])
async def test_large_rows_and_many_rows_are_stored_the_same(
    database: Database, max_change_bytes: int, version: str
) -> None:
    columns = 'id int, "data" int, body text, primary key (id, "data")'
    await with_twin(database, columns, max_change_bytes, version)
    over = max_change_bytes
    # The text of v3 is shorter by five spaces.
    first, last = (-40, -32) if version == "v2" else (-28, -24)
    for statement in (
        f"insert into TABLE values (1, 2, repeat('x', {over})), (3, 4, 's')",
        f"insert into TABLE select i, 1, repeat('x', {over} + i) from generate_series({first}, {last}) i",
        "insert into TABLE values (4, 5, repeat('x', 99000)), (5, 6, repeat('ä', 150000)), (6, 7, null)",
        "insert into TABLE select i, 0, repeat('y', 100) from generate_series(1, 5000) i",
        "update TABLE set body = 'z' where id < 100",
        "delete from TABLE where id < 200",
    ):
        await both(database.superuser, statement)
    await same(database, 5_000, to_the_byte=version == "v2")


async def test_a_row_of_exactly_max_change_bytes_is_stored_whole(database: Database) -> None:
    await database.superuser.execute("create table lean (id int primary key, body text)")
    await database.catalogue.enable(Table("public", "lean"), list(Event), None, 1000)
    whole = 1000 - len('{"id":1,"body":""}')
    await database.superuser.execute(
        f"insert into lean select i, repeat('x', {whole} - 1 + i) from generate_series(1, 2) i"
    )
    rows = await database.superuser.fetch(
        "select octet_length(data), truncated from realtime.outbox order by id"
    )
    assert [tuple(row) for row in rows] == [(1000, False), (len('{"id": 2}'), True)]


# What a table may become while it is enabled, before anybody looks at its triggers.
CHANGES = {
    "an interval": "alter table TABLE alter n type interval using '1 mon 2 days'",
    "a float": "alter table TABLE alter n type real using 1.1",
    "an array of bytes": r"alter table TABLE alter n type bytea[] using array['\x00ff'::bytea]",
    "a row type": "alter table TABLE alter n type pair using row(1, '2026-01-01 00:00+02')::pair",
    "a type with a cast": "alter table TABLE alter n type castable using 'answer'",
    "a domain over a float": "create domain some_float_TABLE as real;"
    "alter table TABLE alter n type some_float_TABLE using 1.1",
    "another column": "alter table TABLE add m interval default '1 mon 2 days', add o real default 1.1",
    "a virtual column": "alter table TABLE add v int generated always as (id * 2) virtual",
    "one column for another": "alter table TABLE drop n, add v int generated always as (id * 2) virtual",
    "many columns": ";".join(
        f"alter table TABLE add c{number} interval default '1 mon'" for number in range(1, 50)
    ),
    "nothing but a key": "alter table TABLE drop n, drop note",
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_table_that_becomes_something_else_is_captured_with_care_at_once(
    database: Database, change: str
) -> None:
    await database.superuser.execute(USER_TYPES)
    await with_twin(database, "id int primary key, n int, note text")
    async with database.session(**STRANGE_WRITER) as writer:
        await both(writer, "insert into TABLE values (1, 1, 'a')")
        await both(writer, "delete from TABLE")
        await both(writer, "insert into TABLE values (2, 2, 'b')")
        await both(database.superuser, CHANGES[change])
        async with writer.transaction():
            await writer.execute("set local bytea_output = 'hex'")
            before = await writer.fetch("select name, setting from pg_settings order by name")
            await both(writer, "insert into TABLE (id) values (3), (4)")
            await both(writer, "delete from TABLE")
            assert await writer.fetch("select name, setting from pg_settings order by name") == before
        assert await writer.fetchval("show bytea_output") == STRANGE_WRITER["bytea_output"]
    await same(database, 8)
    # The maintenance gives the table the functions that it needs now.
    if change != "nothing but a key":
        assert await database.catalogue.mend_partitions() >= 1
        assert await functions(database, "lean") == V1
    assert await database.catalogue.mend_partitions() == 0


async def test_a_table_whose_column_becomes_json_refuses_no_document(database: Database) -> None:
    await database.superuser.execute("create table lean (id int primary key, body text)")
    await database.catalogue.enable(Table("public", "lean"), list(Event), None, 1000)
    await database.superuser.execute("alter table lean alter body type json using null")
    await database.superuser.execute("""insert into lean values (1, '"\\u0000"'), (2, '7')""")
    rows = await database.superuser.fetch("select data, truncated from realtime.outbox order by id")
    assert [tuple(row) for row in rows] == [('{"id": 1}', True), ('{"id": 2, "body": 7}', False)]


async def test_a_partitioned_table_is_lean_and_its_partitions_are_not(database: Database) -> None:
    await database.superuser.execute("""
        create table days (day int, n int) partition by range (day);
        create table days_1 partition of days for values from (0) to (10);
    """)
    await database.catalogue.enable(Table("public", "days"), list(Event), None, 1_048_576)
    assert (await functions(database, "days"), await functions(database, "days_1")) == (V3, V1)
    await database.superuser.execute("insert into days values (1, 1); insert into days_1 values (2, 2)")
    assert [data for _, _, data, _ in await database.captured()] == [
        '{"n": 1, "day": 1}',
        '{"n": 2, "day": 2}',
    ]


async def test_a_table_with_the_functions_of_before_keeps_them_until_it_is_enabled_again(
    database: Database,
) -> None:
    await with_twin(database, "id int primary key", version="v2")
    assert await database.catalogue.mend_partitions() == 0
    assert await database.catalogue.unguarded_partitions() == 0
    for table in ("lean", "twin"):
        await database.catalogue.enable(Table("public", table), list(Event), None, 1_048_576)
        assert await functions(database, table) == V3
