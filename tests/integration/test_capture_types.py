"""Every column type arrives as `to_jsonb` writes it under the contract's settings, byte for byte."""

from __future__ import annotations

import pytest

from realtime.channels import Event, Table
from tests.column_types import STRANGE_WRITER, TYPES, USER_TYPES
from tests.postgres_fixture import Database

CONTRACT = {
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
}


async def test_every_type_arrives_as_to_jsonb_writes_it_whatever_the_writers_settings(
    database: Database,
) -> None:
    types = await _types_here(database)
    columns = ", ".join(f"c{number} {type_name}" for number, type_name in enumerate(types))
    await database.superuser.execute(f"create table typed (id serial primary key, {columns})")
    await database.catalogue.enable(Table("public", "typed"), list(Event), None, 10_000_000)
    async with database.session(**STRANGE_WRITER) as writer:
        for number, type_name in enumerate(types):
            for value in TYPES[type_name]:
                await writer.execute(f"insert into typed (c{number}) values (({value})::{type_name})")
        await writer.execute("insert into typed default values")
        await _compare(database, "INSERT")
        await writer.execute("delete from typed")
    captured = await database.captured()
    assert any('{"answer": 42}' in data for _, _, data, _ in captured)
    inserted = [data for _, event, data, _ in captured if event == "INSERT"]
    assert [data for _, event, data, _ in captured if event == "DELETE"] == inserted


async def test_the_old_row_of_an_update_is_written_the_same_way(database: Database) -> None:
    types = await _types_here(database)
    columns = ", ".join(f"c{number} {type_name}" for number, type_name in enumerate(types))
    values = ", ".join(f"({TYPES[type_name][0]})::{type_name}" for type_name in types)
    await database.superuser.execute(f"create table typed (id int, {columns})")
    await database.superuser.execute(f"insert into typed select 1, {values}")
    await database.catalogue.enable(Table("public", "typed"), list(Event), None, 10_000_000)
    async with database.session(**CONTRACT) as reader:
        before = await reader.fetchval("select to_jsonb(t)::text from typed t")
        async with database.session(**STRANGE_WRITER) as writer:
            await writer.execute("update typed set id = 2")
        after = await reader.fetchval("select to_jsonb(t)::text from typed t")
    assert await database.captured() == [("typed", "UPDATE", after, before)]


async def _types_here(database: Database) -> list[str]:
    """Every type of TYPES that this Postgres was built with."""
    await database.superuser.execute(USER_TYPES)
    with_xml = await _has_xml(database)
    return [type_name for type_name in TYPES if type_name != "xml" or with_xml]


async def _has_xml(database: Database) -> bool:
    options = await database.superuser.fetchval(
        "select string_agg(setting, ' ') from pg_config where name = 'CONFIGURE'"
    )
    return "--with-libxml" in options


async def _compare(database: Database, event: str) -> None:
    async with database.session(**CONTRACT) as reader:
        expected = await reader.fetch("select to_jsonb(t)::text from typed t order by id")
    captured = await database.captured()
    assert [data for _, kind, data, _ in captured if kind == event] == [row[0] for row in expected]


async def test_every_base_type_of_postgres_is_in_the_list(database: Database) -> None:
    missing = await database.superuser.fetch(
        """
        select format_type(oid, null) as name from pg_type
        where typnamespace = 'pg_catalog'::regnamespace and typtype in ('b', 'r', 'm') and typelem = 0
          and format_type(oid, null) <> all ($1::text[])
        order by 1
        """,
        [_plain_name(type_name) for type_name in TYPES],
    )
    assert {row["name"] for row in missing} <= LIKE_ANOTHER


# Types that are written as another of their kind in the list, or that no table of a user has.
LIKE_ANOTHER = {
    "aclitem", "refcursor", "gtsvector", "txid_snapshot", "int2vector", "oidvector",
    "regprocedure", "regoper", "regoperator", "regconfig", "regdictionary", "regcollation", "regdatabase",
    "int8range", "tsrange", "int4multirange", "nummultirange", "tsmultirange", "datemultirange",
    "pg_node_tree", "pg_ndistinct", "pg_dependencies", "pg_mcv_list", "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary", "pg_ddl_command",
}  # fmt: skip


def _plain_name(type_name: str) -> str:
    spelled = {
        "timestamptz": "timestamp with time zone",
        "timestamp": "timestamp without time zone",
        "timetz": "time with time zone",
        "time": "time without time zone",
        "bit(5)": "bit",
        "varchar(10)": "character varying",
        "char(5)": "character",
    }
    return spelled.get(type_name, type_name)


async def test_generated_and_identity_columns_have_their_values(database: Database) -> None:
    await database.superuser.execute("""
        create table computed (
            id bigint generated always as identity primary key,
            n numeric,
            stored numeric generated always as (n * 2) stored,
            "virtual one" numeric(20, 3) generated always as (n / 3) virtual,
            at timestamptz default '2026-01-01 12:00+02',
            shown text generated always as ('n is ' || n::text) virtual
        )
    """)
    await database.catalogue.enable(Table("public", "computed"), list(Event), None, 100_000)
    await _write_and_compare(database, "computed")


async def test_a_virtual_column_that_is_added_later_has_its_value(database: Database) -> None:
    await database.superuser.execute("create table computed (id serial primary key, n numeric)")
    await database.catalogue.enable(Table("public", "computed"), list(Event), None, 100_000)
    await database.superuser.execute(
        "alter table computed add third numeric generated always as (n / 3) virtual"
    )
    await _write_and_compare(database, "computed")
    await database.catalogue.mend_partitions()
    assert await database.superuser.fetchval("select min(stranger) from realtime.armed_v1") == -6


async def test_a_table_with_virtual_columns_has_the_same_limits_as_others(database: Database) -> None:
    """Column names that look like placeholders; rows that are large; rows that jsonb refuses."""
    await database.superuser.execute("""
        create table computed (
            n integer primary key,
            "%1$s" integer generated always as (n * 2) virtual,
            "$1 %I" json,
            hidden text
        )
    """)
    columns = ["n", "%1$s", "$1 %I"]
    await database.catalogue.enable(Table("public", "computed"), list(Event), columns, 1024)
    large = "'[\"" + 2000 * "x" + "\"]'"
    for statement in (
        """insert into computed values (1, default, null, 'h'), (2, default, '"\\u0000"', 'h')""",
        f"insert into computed values (3, default, {large}, 'h')",
        "update computed set hidden = 'other'",  # recorded for rows of which only the key is known
        f"""update computed set "$1 %I" = case n when 1 then {large} else '7'::json end""",
        "update computed set n = n + 10",
        "delete from computed",
    ):
        await database.superuser.execute(statement)

    def row(n: int, document: str) -> str:
        return f'{{"n": {n}, "%1$s": {2 * n}, "$1 %I": {document}}}'

    rows = await database.superuser.fetch(
        "select event, data, old, truncated from realtime.outbox order by id"
    )
    assert [tuple(one) for one in rows] == [
        ("INSERT", row(1, "null"), None, False),
        ("INSERT", '{"n": 2}', None, True),
        ("INSERT", '{"n": 3}', None, True),
        ("UPDATE", '{"n": 2}', None, True),
        ("UPDATE", '{"n": 1}', None, True),
        ("UPDATE", '{"n": 2}', None, True),
        ("UPDATE", '{"n": 3}', None, True),
        ("UPDATE", '{"n": 11}', None, True),
        ("UPDATE", row(12, "7"), row(2, "7"), False),
        ("UPDATE", row(13, "7"), row(3, "7"), False),
        ("DELETE", '{"n": 11}', None, True),
        ("DELETE", row(12, "7"), None, False),
        ("DELETE", row(13, "7"), None, False),
    ]


async def _write_and_compare(database: Database, table: str) -> None:
    async with database.session(**CONTRACT) as reader:
        rows = f"select to_jsonb(t)::text from {table} t order by id"
        async with database.session(**STRANGE_WRITER) as writer:
            await writer.execute(f"insert into {table} (n) values (1), (2.5), (null)")
            inserted = [row[0] for row in await reader.fetch(rows)]
            await writer.execute(f"update {table} set n = n + 10 where n is not null")
            updated = [row[0] for row in await reader.fetch(f"{rows} limit 2")]
            await writer.execute(f"delete from {table} where n is not null")
    assert await database.captured() == [
        *[(table, "INSERT", row, None) for row in inserted],
        *[(table, "UPDATE", new, old) for new, old in zip(updated, inserted[:2], strict=True)],
        *[(table, "DELETE", row, None) for row in updated],
    ]


@pytest.mark.parametrize("document", ['"\\u0000"', "1e999999", '{"deep": ["\\ud800"]}'])
async def test_json_that_jsonb_cannot_hold_arrives_truncated_and_fails_no_write(
    database: Database, document: str
) -> None:
    await database.superuser.execute(
        'create table documents (id int, "a\\b" text, body json, primary key (id, "a\\b"))'
    )
    await database.catalogue.enable(Table("public", "documents"), list(Event), None, 100_000)
    await database.superuser.execute(
        "insert into documents values (7, 'x\\\"y', $1::text::json)".replace("$1", f"'{document}'")
    )
    await database.superuser.execute("update documents set id = 8")
    await database.superuser.execute("delete from documents")
    rows = await database.superuser.fetch(
        "select event, data, old, truncated from realtime.outbox order by id"
    )
    key = '{{"id": {}, "a\\\\b": "x\\\\\\"y"}}'
    assert [tuple(row) for row in rows] == [
        ("INSERT", key.format(7), None, True),
        ("UPDATE", key.format(8), None, True),
        ("DELETE", key.format(8), None, True),
    ]
