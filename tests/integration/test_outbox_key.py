"""The one index of the outbox, and an outbox of a schema before version 7, which had two.

A migration replaces them where no writer would notice, and all programs go on with either.
"""

from __future__ import annotations

from typing import Any

from notifier.feed.feed import Feed
from notifier.sessions import connect
from realtime.channels import Event, Table
from realtime.postgres.migrations import migrate
from tests.postgres_fixture import Database
from tests.schema_fixture import ONE_INDEX, psql

ITEMS = Table("public", "items")
ONE = ["outbox_xid"]
TWO = ["outbox_pkey", "outbox_xid"]

# As schema version 6 read the rows of a batch.
FORMER_CHANGES = "select id from realtime.outbox where id = any ($1::bigint[]) order by id"


async def indexes(connection: Any) -> list[str]:
    rows = await connection.fetch(
        "select indexrelid::regclass::text as name from pg_index"
        " where indrelid = 'realtime.outbox'::regclass order by 1"
    )
    return [row["name"].removeprefix("realtime.") for row in rows]


async def make_former(database: Database) -> None:
    """Enable a table, and give the outbox the indexes of schema version 6."""
    await database.superuser.execute("create table items (id int)")
    await database.catalogue.enable(ITEMS, list(Event), None, 1000)
    assert await indexes(database.superuser) == ONE
    await database.superuser.execute("""
        alter table realtime.outbox drop constraint outbox_xid, add primary key (id);
        create index outbox_xid on realtime.outbox (xid);
        update realtime.version set version = 6;
        insert into items select generate_series(1, 3);
    """)
    assert await indexes(database.superuser) == TWO


async def expect_one(database: Database, changes: int) -> None:
    assert await indexes(database.superuser) == ONE
    key = await database.superuser.fetchval(
        "select pg_get_constraintdef(oid) from pg_constraint where conname = 'outbox_xid'"
    )
    assert key == "PRIMARY KEY (xid, id)"
    await database.superuser.execute("insert into items values (0)")
    assert len(await database.captured()) == changes + 1


async def read(url: str) -> list[int]:
    """Read all changes in pieces, as a notifier does that has much to catch up with."""
    reader = await connect(url)
    try:
        feed = Feed(reader)
        await feed.resume()
        await feed.take()
        feed = Feed(reader)
        await feed.resume()  # the batch that is stored is read from the outbox
        found = [
            change
            for chunks in [piece async for piece in feed.chunks()]
            for chunk in chunks
            for change in chunk.ids
        ]
        await feed.confirm()
        return found
    finally:
        await reader.close(timeout=30)


async def test_a_migration_gives_an_outbox_of_before_its_one_index(database: Database) -> None:
    await make_former(database)
    await migrate(database.superuser)
    await expect_one(database, changes=3)


async def test_a_migration_leaves_an_outbox_in_use_alone_and_all_goes_on(database: Database) -> None:
    await make_former(database)
    async with database.session() as writer, writer.transaction():
        await writer.execute("insert into items values (4)")
        await migrate(database.superuser)
        assert await indexes(database.superuser) == TWO
    assert await read(database.url) == [1, 2, 3, 4]
    assert "failed" not in await psql(database.url, ONE_INDEX)
    await expect_one(database, changes=4)
    assert await read(database.url) == [5]


async def test_a_migration_leaves_a_large_outbox_alone(database: Database) -> None:
    await make_former(database)
    await database.superuser.execute(
        "alter table items add note text;"
        "insert into items select i, repeat('x', 900) from generate_series(1, 10000) i"
    )
    await migrate(database.superuser)
    assert await indexes(database.superuser) == TWO


async def test_the_former_statement_reads_an_outbox_with_one_index(database: Database) -> None:
    await database.superuser.execute("create table items (id int)")
    await database.catalogue.enable(ITEMS, list(Event), None, 1000)
    await database.superuser.execute("insert into items select generate_series(1, 5)")
    reader = await connect(database.url)
    rows = await reader.fetch(FORMER_CHANGES, [4, 2, 3])
    await reader.close(timeout=30)
    assert [row["id"] for row in rows] == [2, 3, 4]
