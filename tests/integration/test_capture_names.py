"""Names: whatever Postgres takes as a name is captured under that name, and is never SQL."""

from __future__ import annotations

import json

import pytest

from realtime.channels import Event, Table
from tests.postgres_fixture import Database

NAMES = [
    "Users",
    "my.table",
    "odd:name",
    "with space",
    " leading and trailing ",
    "Größe_表_😀",
    'quo"ted',
    "it's",
    "back\\slash",
    "select",
    "n",
    "new_rows",
    "x" * 63,
    "ä" * 31,
    "%I%s$1",
    "'); drop table realtime.outbox; --",
]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.mark.parametrize("name", NAMES)
async def test_a_name_arrives_as_it_is(database: Database, name: str) -> None:
    await database.superuser.execute(f"create schema {quoted(name)}")
    table = Table(name, name)
    column = quoted(name)
    await database.superuser.execute(
        f"create table {quoted(name)}.{quoted(name)} ({column} int primary key, hidden text)"
    )
    assert await database.catalogue.resolve(name, name) == table
    enabled = await database.catalogue.enable(table, list(Event), [name], 1000)
    assert await database.catalogue.enabled() == [enabled]
    await database.superuser.execute(f"insert into {quoted(name)}.{quoted(name)} values (1, 'secret')")
    await database.superuser.execute(f"update {quoted(name)}.{quoted(name)} set {column} = 2")
    await database.superuser.execute(f"delete from {quoted(name)}.{quoted(name)}")
    rows = await database.superuser.fetch("table realtime.outbox order by id")
    assert [(row["schema_name"], row["table_name"], row["event"]) for row in rows] == [
        (name, name, event.value) for event in Event
    ]
    assert [json.loads(row["data"]) for row in rows] == [{name: 1}, {name: 2}, {name: 2}]
    await database.catalogue.disable(table)
    assert await database.catalogue.enabled() == []


async def test_columns_named_like_the_functions_own_words_are_columns(database: Database) -> None:
    words = "n o i data was big plain hidden max_bytes into_schema into_table columns found tg_relid old new"
    columns = ", ".join(f"{quoted(word)} int" for word in words.split())
    await database.superuser.execute(f"create table words ({columns})")
    await database.catalogue.enable(Table("public", "words"), list(Event), None, 100000)
    ones = ", ".join("1" for _ in words.split())
    await database.superuser.execute(f"insert into words values ({ones})")
    await database.superuser.execute('update words set "n" = 2, "data" = 3')
    await database.superuser.execute("delete from words")
    one = dict.fromkeys(words.split(), 1)
    two = one | {"n": 2, "data": 3}
    assert [
        (event, json.loads(data), old and json.loads(old))
        for _, event, data, old in await database.captured()
    ] == [("INSERT", one, None), ("UPDATE", two, one), ("DELETE", two, None)]


async def test_a_renamed_table_stays_enabled_under_its_new_name(database: Database) -> None:
    await database.superuser.execute("create schema archive; create table before (id int primary key)")
    await database.catalogue.enable(Table("public", "before"), list(Event), None, 1000)
    await database.superuser.execute("insert into before values (1)")
    await database.superuser.execute('alter table before rename to "After"')
    await database.superuser.execute('insert into "After" values (2)')
    await database.superuser.execute('alter table "After" set schema archive')
    await database.superuser.execute('insert into archive."After" values (3)')
    rows = await database.superuser.fetch("table realtime.outbox order by id")
    assert [(row["schema_name"], row["table_name"], row["data"]) for row in rows] == [
        ("public", "before", '{"id":1}'),
        ("public", "After", '{"id":2}'),
        ("archive", "After", '{"id":3}'),
    ]
    assert [one.table for one in await database.catalogue.enabled()] == [Table("archive", "After")]
