"""Every form of statement: what it changed is in the outbox, once, in order; what it did not is not.

Long, since SQL has so many forms; each is a test of its own.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from realtime import names
from realtime.channels import Event, Table
from tests.change_stream import DEADLINE
from tests.postgres_fixture import Database, fresh_database, throw_away_postgres

MEGABYTE = 1 << 20


@pytest.fixture
async def items(database: Database) -> Database:
    await database.superuser.execute(
        "create table items (id int primary key, n int, t text);"
        "insert into items values (1, 10), (2, 20), (3, 30)"
    )
    await enable(database, "items")
    return database


async def enable(
    database: Database, name: str, columns: Sequence[str] | None = None, max_change_bytes: int = MEGABYTE
) -> None:
    await database.catalogue.enable(Table("public", name), list(Event), columns, max_change_bytes)


async def changes(database: Database, *fields: str) -> list[tuple[Any, ...]]:
    """What was captured: the event, and of data and old these fields."""
    return [
        (event, _only(data, fields), _only(old, fields)) for _, event, data, old in await database.captured()
    ]


def _only(text: str | None, fields: Sequence[str]) -> Any:
    if text is None:
        return None
    row = json.loads(text)
    return tuple(row[field] for field in fields)


async def test_an_update_has_both_rows_and_a_delete_the_deleted(items: Database) -> None:
    await items.superuser.execute("update items set n = n + 1 where id < 3")
    await items.superuser.execute("delete from items where id = 3")
    assert await changes(items, "id", "n") == [
        ("UPDATE", (1, 11), (1, 10)),
        ("UPDATE", (2, 21), (2, 20)),
        ("DELETE", (3, 30), None),
    ]


async def test_an_update_of_keys_pairs_each_row_with_itself(items: Database) -> None:
    await items.superuser.execute("update items set id = 10 - id, n = id")
    assert await changes(items, "id", "n") == [
        ("UPDATE", (9, 1), (1, 10)),
        ("UPDATE", (8, 2), (2, 20)),
        ("UPDATE", (7, 3), (3, 30)),
    ]


async def test_an_update_that_changes_nothing_is_no_event(items: Database) -> None:
    await items.superuser.execute("update items set n = n, t = null")
    await items.superuser.execute("update items set n = case id when 2 then 0 else n end")
    assert await changes(items, "id", "n") == [("UPDATE", (2, 0), (2, 20))]


async def test_a_statement_without_rows_captures_and_rings_nothing(items: Database) -> None:
    rung = asyncio.Event()
    async with items.session() as listener, items.session() as writer:
        await listener.add_listener(names.DOORBELL, lambda *_: rung.set())
        await writer.execute("update items set n = 1 where false")
        await writer.execute("delete from items where false")
        await writer.execute("insert into items select 4 where false")
        await writer.execute("update items set n = n")
        await listener.execute("select 1")
        assert not rung.is_set()
        assert await items.captured() == []
        await writer.execute("insert into items values (4)")
        await asyncio.wait_for(rung.wait(), DEADLINE)


async def test_nobody_rings_while_the_notifier_is_awake(items: Database) -> None:
    heard: list[str] = []
    done = asyncio.Event()

    def hear(_connection: Any, _pid: int, channel: str, payload: str) -> None:
        heard.append(payload)
        if payload == "done":
            done.set()

    async with items.session() as notifier, items.session() as writer:
        await notifier.add_listener(names.DOORBELL, hear)
        await notifier.execute(
            "select setval('realtime.silent_until', extract(epoch from now())::bigint + 60)"
        )
        await writer.execute("insert into items values (4)")
        await writer.execute("select pg_notify($1, 'done')", names.DOORBELL)
        await asyncio.wait_for(done.wait(), DEADLINE)
        assert heard == ["done"]
    assert len(await items.captured()) == 1


async def test_what_is_rolled_back_was_not(items: Database) -> None:
    async with items.session() as writer:
        transaction = writer.transaction()
        await transaction.start()
        await writer.execute("insert into items values (4)")
        await transaction.rollback()
        async with writer.transaction():
            await writer.execute("insert into items values (5)")
            savepoint = writer.transaction()
            await savepoint.start()
            await writer.execute("insert into items values (6)")
            await savepoint.rollback()
            await writer.execute("insert into items values (7)")
    assert await changes(items, "id") == [("INSERT", (5,), None), ("INSERT", (7,), None)]


async def test_a_savepoints_changes_carry_the_transactions_id(items: Database) -> None:
    async with items.session() as writer, writer.transaction():
        whole = await writer.fetchval("select pg_current_xact_id()::text")
        async with writer.transaction():
            await writer.execute("insert into items values (4)")
    assert await items.superuser.fetchval("select xid::text from realtime.outbox") == whole


async def test_on_conflict_splits_inserts_from_updates(items: Database) -> None:
    await items.superuser.execute(
        "insert into items values (3, 31), (4, 40), (2, 20) on conflict (id) do update set n = excluded.n"
    )
    await items.superuser.execute("insert into items values (4, 0) on conflict do nothing")
    assert sorted(await changes(items, "id", "n")) == [
        ("INSERT", (4, 40), None),
        ("UPDATE", (3, 31), (3, 30)),
    ]


async def test_merge_captures_each_of_its_actions(items: Database) -> None:
    await items.superuser.execute("""
        merge into items using (values (1), (2), (9)) as source (id) on items.id = source.id
        when matched and items.id = 1 then delete
        when matched then update set n = 0
        when not matched then insert values (source.id, 90)
    """)
    assert sorted(await changes(items, "id", "n"), key=str) == [
        ("DELETE", (1, 10), None),
        ("INSERT", (9, 90), None),
        ("UPDATE", (2, 0), (2, 20)),
    ]


async def test_writes_in_a_with_clause_are_captured(items: Database) -> None:
    await items.superuser.execute("""
        with gone as (delete from items where id = 1 returning n)
        insert into items select 5, n from gone
    """)
    assert sorted(await changes(items, "id", "n")) == [("DELETE", (1, 10), None), ("INSERT", (5, 10), None)]


async def test_copy_is_captured(items: Database) -> None:
    await items.superuser.copy_to_table("items", source=io.BytesIO(b"4\t40\tx\n5\t50\t\\N\n"))
    assert await changes(items, "id", "t") == [("INSERT", (4, "x"), None), ("INSERT", (5, None), None)]


async def test_truncate_is_no_change_of_rows(items: Database) -> None:
    await items.superuser.execute("truncate items")
    assert await items.captured() == []


async def test_a_cascade_is_captured_in_the_referencing_table(items: Database) -> None:
    await items.superuser.execute("""
        create table parts (
            id int primary key, item int references items on delete cascade on update cascade
        );
        insert into parts values (1, 1), (2, 1), (3, 2);
    """)
    await enable(items, "parts")
    await items.superuser.execute("delete from items where id = 1")
    await items.superuser.execute("update items set id = 20 where id = 2")
    assert sorted(map(str, await items.captured())) == sorted(
        map(
            str,
            [
                ("items", "DELETE", '{"n": 10, "t": null, "id": 1}', None),
                ("parts", "DELETE", '{"id": 1, "item": 1}', None),
                ("parts", "DELETE", '{"id": 2, "item": 1}', None),
                ("items", "UPDATE", '{"n": 20, "t": null, "id": 20}', '{"n": 20, "t": null, "id": 2}'),
                ("parts", "UPDATE", '{"id": 3, "item": 20}', '{"id": 3, "item": 2}'),
            ],
        )
    )


async def test_a_writer_needs_no_right_but_on_the_table(items: Database) -> None:
    await items.superuser.execute("create role writer login password 'writer'")
    await items.superuser.execute("grant insert on items to writer")
    await items.superuser.execute("alter table items enable row level security")
    await items.superuser.execute("create policy blind on items for insert with check (true)")
    async with items.session("writer") as writer:
        await writer.execute("insert into items values (4)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await writer.execute("table realtime.outbox")
    assert await changes(items, "id") == [("INSERT", (4,), None)]


async def test_a_table_without_a_primary_key_is_captured(database: Database) -> None:
    await database.superuser.execute("create table bag (n int); insert into bag values (1), (1)")
    await enable(database, "bag")
    await database.superuser.execute("update bag set n = 2 where ctid = '(0,1)'")
    await database.superuser.execute("delete from bag")
    assert await changes(database, "n") == [
        ("UPDATE", (2,), (1,)),
        ("DELETE", (1,), None),
        ("DELETE", (2,), None),
    ]


async def test_a_table_without_columns_is_captured(database: Database) -> None:
    await database.superuser.execute("create table nothing ()")
    await enable(database, "nothing")
    await database.superuser.execute("insert into nothing default values")
    assert await database.captured() == [("nothing", "INSERT", "{}", None)]


async def test_columns_that_are_not_listed_never_reach_the_outbox(database: Database) -> None:
    await database.superuser.execute("create table people (id int primary key, name text, secret text)")
    await enable(database, "people", ["id", "name"])
    await database.superuser.execute("insert into people values (1, 'a', 'hush')")
    await database.superuser.execute("update people set secret = 'changed'")
    await database.superuser.execute("update people set name = 'b', secret = 'again'")
    await database.superuser.execute(
        "alter table people add later text default 'hush'; update people set later = 'x'"
    )
    await database.superuser.execute("alter table people drop name; update people set id = 2")
    await database.superuser.execute("delete from people")
    assert await database.captured() == [
        ("people", "INSERT", '{"id": 1, "name": "a"}', None),
        ("people", "UPDATE", '{"id": 1, "name": "b"}', '{"id": 1, "name": "a"}'),
        ("people", "UPDATE", '{"id": 2}', '{"id": 1}'),
        ("people", "DELETE", '{"id": 2}', None),
    ]


async def test_columns_may_come_go_and_change_while_enabled(items: Database) -> None:
    async with items.session() as writer:
        await writer.execute("insert into items values (4, 40, 'a')")
        await items.superuser.execute("alter table items add extra bool default true")
        await writer.execute("insert into items values (5, 50, 'b')")
        await items.superuser.execute("alter table items drop t; alter table items alter n type text")
        await writer.execute("insert into items values (6, 'sixty')")
        await items.superuser.execute("alter table items rename n to m")
        await writer.execute("update items set m = 'x' where id = 6")
    assert await items.captured() == [
        ("items", "INSERT", '{"n": 40, "t": "a", "id": 4}', None),
        ("items", "INSERT", '{"n": 50, "t": "b", "id": 5, "extra": true}', None),
        ("items", "INSERT", '{"n": "sixty", "id": 6, "extra": true}', None),
        ("items", "UPDATE", '{"m": "x", "id": 6, "extra": true}', '{"m": "sixty", "id": 6, "extra": true}'),
    ]


async def test_a_change_over_the_limit_arrives_as_its_key_alone(database: Database) -> None:
    await database.superuser.execute(
        """
        create table big (a text, b int, body text, primary key (b, a) include (body));
        create table keyless (body text);
    """.replace(" include (body)", "")
    )
    await enable(database, "big", max_change_bytes=1000)
    await enable(database, "keyless", max_change_bytes=1000)
    await database.superuser.execute("insert into big values ('k', 1, repeat('x', 400))")
    await database.superuser.execute("update big set body = repeat('y', 700)")
    await database.superuser.execute("update big set b = 2, body = repeat('y', 2000)")
    await database.superuser.execute("delete from big")
    await database.superuser.execute("insert into keyless values (repeat('x', 2000))")
    rows = await database.superuser.fetch(
        "select event, data, old, truncated from realtime.outbox order by id"
    )
    assert [tuple(row) for row in rows[1:]] == [
        ("UPDATE", '{"a": "k", "b": 1}', None, True),
        ("UPDATE", '{"a": "k", "b": 2}', None, True),
        ("DELETE", '{"a": "k", "b": 2}', None, True),
        ("INSERT", "{}", None, True),
    ]
    assert rows[0]["truncated"] is False


async def test_a_key_column_that_is_not_listed_is_not_in_a_truncated_change(database: Database) -> None:
    await database.superuser.execute("create table big (a int, b int, body text, primary key (a, b))")
    await enable(database, "big", ["b", "body"], max_change_bytes=1000)
    await database.superuser.execute("insert into big values (1, 2, repeat('x', 2000))")
    assert await database.captured() == [("big", "INSERT", '{"b": 2}', None)]


async def test_a_row_of_many_megabytes_is_truncated_or_whole_by_the_limit(database: Database) -> None:
    await database.superuser.execute("create table big (id int primary key, body text, other int)")
    await enable(database, "big", max_change_bytes=20 * MEGABYTE)
    await database.superuser.execute("insert into big values (1, repeat('x', 10000000))")
    await database.superuser.execute("update big set body = repeat('z', 12000000)")
    rows = await database.superuser.fetch(
        "select octet_length(data), data, truncated from realtime.outbox order by id"
    )
    assert (rows[0][0] > 10_000_000, rows[0][2]) == (True, False)
    assert (rows[1][1], rows[1][2]) == ('{"id": 1}', True)


async def test_a_row_beyond_the_limits_of_jsonb_fails_no_write(database: Database) -> None:
    await database.superuser.execute("create table huge (id int primary key, body text)")
    await enable(database, "huge")
    await database.superuser.execute("insert into huge values (1, repeat('x', 270000000))")
    row = await database.superuser.fetchrow("select data, truncated from realtime.outbox")
    assert tuple(row) == ('{"id": 1}', True)


async def test_a_huge_column_that_is_not_listed_takes_nothing_from_the_rest(database: Database) -> None:
    await database.superuser.execute("create table huge (id int primary key, n int, body text)")
    await enable(database, "huge", ["id", "n"])
    await database.superuser.execute("insert into huge values (1, 2, repeat('x', 270000000))")
    assert await database.captured() == [("huge", "INSERT", '{"n": 2, "id": 1}', None)]


async def test_a_statement_of_a_million_rows_is_captured_in_order(database: Database) -> None:
    await database.superuser.execute("create table many (id int primary key, n int)")
    await enable(database, "many")
    async with database.session() as writer:
        # A plan made for one row must not be kept for a million.
        for number in range(-6, 0):
            await writer.execute(f"insert into many values ({number}, 0)")
            await writer.execute(f"update many set n = 1 where id = {number}")
        await writer.execute("truncate realtime.outbox")
        await writer.execute("insert into many select i, 0 from generate_series(1, 1000000) i", timeout=60)
        assert await _in_order(database, "INSERT") == (1_000_000, True)
        await writer.execute("truncate realtime.outbox")
        await writer.execute("update many set n = id where id between 1 and 200000", timeout=60)
        assert await _in_order(database, "UPDATE") == (200_000, True)


async def _in_order(database: Database, event: str) -> tuple[Any, ...]:
    """Count the changes; tell whether their ids rise and each old belongs to its data."""
    row = await database.superuser.fetchrow(
        """
        select count(*), bool_and(row_id > coalesce(before, 0) and old_id is not distinct from row_id) from (
            select (data::jsonb ->> 'id')::int as row_id,
                   coalesce(old::jsonb ->> 'id', data::jsonb ->> 'id')::int as old_id,
                   lag((data::jsonb ->> 'id')::int) over (order by id) as before
            from realtime.outbox where event = $1
        ) c
        """,
        event,
        timeout=60,
    )
    return tuple(row)


async def test_replica_sessions_are_not_captured(items: Database) -> None:
    async with items.session(session_replication_role="replica") as subscriber:
        await subscriber.execute("insert into items values (4)")
    assert await items.captured() == []


async def test_a_repeatable_read_or_serializable_writer_is_captured(items: Database) -> None:
    for number, isolation in ((4, "repeatable_read"), (5, "serializable")):
        async with items.session() as writer, writer.transaction(isolation=isolation):
            await writer.execute(f"insert into items values ({number})")
    assert await changes(items, "id") == [("INSERT", (4,), None), ("INSERT", (5,), None)]


async def test_where_transactions_are_prepared_nobody_rings_and_all_is_captured(tmp_path: Path) -> None:
    async with (
        throw_away_postgres(tmp_path, {"max_prepared_transactions": "2"}) as url,
        fresh_database(url, "prepared") as database,
    ):
        await database.superuser.execute("create table items (id int)")
        await enable(database, "items")
        await database.superuser.execute("begin; insert into items values (1); prepare transaction 'one'")
        assert await database.captured() == []
        await database.superuser.execute("commit prepared 'one'")
        assert await changes(database, "id") == [("INSERT", (1,), None)]
