"""Partitions: a write into any of them, by any way, is one change of the enabled parent."""

from __future__ import annotations

import json

import pytest

from realtime.channels import Event, Table
from realtime.errors import ClientError
from tests.postgres_fixture import Database

MEASURES = Table("public", "measures")


@pytest.fixture
async def measures(database: Database) -> Database:
    """A table partitioned twice, one partition in another schema and with its columns in another order."""
    await database.superuser.execute("""
        create schema store;
        create table measures (id int, day int, n int, primary key (id, day, n)) partition by range (day);
        create table measures_1 partition of measures for values from (0) to (10);
        create table store.measures_2 (n int not null, dropped int, day int not null, id int not null);
        alter table store.measures_2 drop dropped;
        alter table measures attach partition store.measures_2 for values from (10) to (20);
        create table measures_3 partition of measures for values from (20) to (100) partition by list (n);
        create table measures_3a partition of measures_3 for values in (1);
        create table measures_3b partition of measures_3 default;
    """)
    await database.catalogue.enable(MEASURES, list(Event), None, 1000)
    return database


async def changes(database: Database) -> list[tuple[str, str, dict[str, int], dict[str, int] | None]]:
    return [
        (table, event, json.loads(data), json.loads(old) if old else None)
        for table, event, data, old in await database.captured()
    ]


def row(number: int, day: int, n: int = 0) -> dict[str, int]:
    return {"id": number, "day": day, "n": n}


async def test_writes_into_parent_and_partitions_are_changes_of_the_parent(measures: Database) -> None:
    await measures.superuser.execute("insert into measures values (1, 1, 0), (2, 11, 0)")
    await measures.superuser.execute("insert into measures_1 values (3, 2, 0)")
    await measures.superuser.execute("insert into store.measures_2 (id, day, n) values (4, 12, 0)")
    await measures.superuser.execute("insert into measures_3 values (5, 21, 1)")
    await measures.superuser.execute("insert into measures_3b values (6, 21, 2)")
    await measures.superuser.execute("update measures_1 set n = 7 where id = 3")
    await measures.superuser.execute("delete from store.measures_2 where id = 4")
    assert await changes(measures) == [
        ("measures", "INSERT", row(1, 1), None),
        ("measures", "INSERT", row(2, 11), None),
        ("measures", "INSERT", row(3, 2), None),
        ("measures", "INSERT", row(4, 12), None),
        ("measures", "INSERT", row(5, 21, 1), None),
        ("measures", "INSERT", row(6, 21, 2), None),
        ("measures", "UPDATE", row(3, 2, 7), row(3, 2)),
        ("measures", "DELETE", row(4, 12), None),
    ]
    assert set(await measures.superuser.fetch("select distinct schema_name from realtime.outbox")) == {
        ("public",)
    }


async def test_a_move_between_partitions_is_one_update(measures: Database) -> None:
    await measures.superuser.execute("insert into measures values (1, 1, 0), (2, 2, 0), (3, 25, 1)")
    await measures.superuser.execute("update measures set day = day + 10 where id < 3")
    await measures.superuser.execute("update measures_3 set n = 2")
    assert (await changes(measures))[3:] == [
        ("measures", "UPDATE", row(1, 11), row(1, 1)),
        ("measures", "UPDATE", row(2, 12), row(2, 2)),
        ("measures", "UPDATE", row(3, 25, 2), row(3, 25, 1)),
    ]


async def test_a_partition_that_came_later_is_found_and_mended(measures: Database) -> None:
    await measures.superuser.execute("create table late partition of measures for values from (100) to (200)")
    assert await measures.catalogue.unguarded_partitions() == 1
    assert await measures.catalogue.mend_partitions() == 1
    assert await measures.catalogue.unguarded_partitions() == 0
    assert await measures.catalogue.mend_partitions() == 0
    await measures.superuser.execute("insert into late values (1, 100, 0)")
    assert await changes(measures) == [("measures", "INSERT", row(1, 100), None)]


async def test_a_detached_partition_is_silent_at_once_and_mended(measures: Database) -> None:
    await measures.superuser.execute("alter table measures detach partition measures_1")
    await measures.superuser.execute("alter table measures detach partition measures_3")
    await measures.superuser.execute("insert into measures_1 values (1, 1, 0)")
    await measures.superuser.execute("insert into measures_3b values (2, 21, 2)")
    assert await measures.captured() == []
    assert await measures.catalogue.unguarded_partitions() == 0
    assert await measures.catalogue.mend_partitions() == 4
    assert await measures.catalogue.mend_partitions() == 0


async def test_a_renamed_parent_gives_its_new_name(measures: Database) -> None:
    await measures.superuser.execute("alter table measures rename to gauges")
    await measures.superuser.execute("insert into measures_1 values (1, 1, 0)")
    assert await changes(measures) == [("gauges", "INSERT", row(1, 1), None)]


async def test_disabling_the_parent_silences_all(measures: Database) -> None:
    await measures.catalogue.disable(MEASURES)
    await measures.superuser.execute("insert into measures values (1, 1, 0)")
    await measures.superuser.execute("insert into measures_1 values (2, 1, 0)")
    assert await measures.captured() == []
    assert await measures.catalogue.mend_partitions() == 0


async def test_an_event_that_is_no_longer_asked_for_is_silent_in_partitions_too(measures: Database) -> None:
    await measures.catalogue.enable(MEASURES, [Event.DELETE], ["id"], 1000)
    await measures.superuser.execute("insert into measures_1 values (2, 1, 0)")
    await measures.superuser.execute("delete from measures_1")
    assert await changes(measures) == [("measures", "DELETE", {"id": 2}, None)]
    assert await measures.catalogue.mend_partitions() == 0


async def test_a_partition_cannot_be_enabled_itself(measures: Database) -> None:
    with pytest.raises(
        ClientError, match=r"table_name: public.measures_3a is a partition; enable public.measures"
    ):
        await measures.catalogue.enable(Table("public", "measures_3a"), list(Event), None, 1000)


async def test_a_table_that_was_enabled_before_it_became_a_partition_is_mended(measures: Database) -> None:
    await measures.superuser.execute("create table lone (id int, day int, n int, primary key (id, day, n))")
    await measures.catalogue.enable(Table("public", "lone"), list(Event), None, 1000)
    await measures.superuser.execute(
        "alter table measures attach partition lone for values from (100) to (200)"
    )
    assert await measures.catalogue.mend_partitions() == 1
    await measures.superuser.execute("insert into lone values (1, 100, 0)")
    assert await changes(measures) == [("measures", "INSERT", row(1, 100), None)]
    assert [one.table for one in await measures.catalogue.enabled()] == [MEASURES]


async def test_a_parent_with_a_foreign_partition_is_refused(database: Database) -> None:
    await database.superuser.execute("""
        create extension file_fdw;
        create server files foreign data wrapper file_fdw;
        create table mixed (id int) partition by range (id);
        create foreign table mixed_file partition of mixed for values from (0) to (10)
            server files options (filename '/dev/null');
    """)
    with pytest.raises(
        ClientError, match=r"table_name: public.mixed has a foreign table as partition: mixed_file"
    ):
        await database.catalogue.enable(Table("public", "mixed"), list(Event), None, 1000)
    with pytest.raises(ClientError, match="not_found"):
        await database.catalogue.enable(Table("public", "mixed_file"), list(Event), None, 1000)
