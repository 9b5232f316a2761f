"""A stranger fills what all databases of a server share: changes go on, or come when there is room again."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.clean_log import logged
from tests.expressions import value
from tests.gateway_fixture import eventually
from tests.notifier_fixture import PROJECT, asleep, insert, late_changes, notifier
from tests.stranger_fixture import Server, server_of_its_own


async def test_a_full_queue_of_notifications_is_noticed_and_changes_come_by_polling(
    tmp_path: Path, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One session that listens and sits in a transaction keeps the queue of all databases from moving on."""
    async with server_of_its_own(tmp_path, redis_url, max_notify_queue_pages="64") as server:
        one, other = await server.stranger.session(), await server.stranger.session()
        async with notifier(server.settings):
            await asleep(server.writer)
            await one.execute("listen nothing")
            await one.execute("begin; select 1")
            with suppress(asyncpg.ProgramLimitExceededError, asyncpg.ObjectNotInPrerequisiteStateError):
                while await other.fetchval("select pg_notification_queue_usage()") < 0.9:
                    await other.execute("select pg_notify('nothing', repeat('x', 7000))")
            await eventually(lambda: logged(caplog, "notification_queue_full"))
            before = late_changes()
            for number in (1, 2):
                await insert(server.writer, number)
                await server.seen.sees(number)
                await asleep(server.writer)
            assert late_changes() == before
            await one.execute("rollback")

            async def has_room() -> bool:
                return await other.fetchval("select pg_notification_queue_usage()") < 0.5

            await eventually(has_room)
            rings = value("realtime_notifier_rings_total", project=PROJECT)
            await insert(server.writer, 3)
            await eventually(lambda: value("realtime_notifier_rings_total", project=PROJECT) > rings)
    assert len(logged(caplog, "notification_queue_full")) == 1


async def test_a_stranger_that_takes_all_connections_leaves_those_that_are_reserved(
    tmp_path: Path, redis_url: str
) -> None:
    """As docs/operations.md advises."""
    options = {"max_connections": "20", "reserved_connections": "8", "superuser_reserved_connections": "3"}
    async with server_of_its_own(tmp_path, redis_url, **options) as server:
        await server.writer.execute("grant pg_use_reserved_connections to service")
        refused = 0
        while not refused:
            try:
                await server.stranger.session()
            except asyncpg.TooManyConnectionsError:
                refused += 1
        async with notifier(server.settings):
            await insert(server.writer, 1)
            await server.seen.sees(1)


async def test_a_prepared_transaction_of_a_stranger_delays_no_change(tmp_path: Path, redis_url: str) -> None:
    """Wait until a change is published."""
    async with server_of_its_own(tmp_path, redis_url, max_prepared_transactions="3") as server:
        await server.writer.execute("grant create on schema public to stranger")
        one = await server.stranger.session()
        await one.execute("begin; create table left_over (); prepare transaction 'left over'")
        async with notifier(server.settings):
            await insert(server.writer, 1)
            await server.seen.sees(1)
        await server.writer.execute("rollback prepared 'left over'")


async def test_when_a_stranger_has_filled_the_table_of_locks_changes_come_afterwards(
    tmp_path: Path, redis_url: str
) -> None:
    """It fails the writes of everybody: a transaction id is a lock, too."""
    options = {"max_locks_per_transaction": "10", "max_connections": "25"}
    async with server_of_its_own(tmp_path, redis_url, **options) as server, notifier(server.settings):
        await insert(server.writer, 1)
        await server.seen.sees(1)
        await asleep(server.writer)
        one = await server.stranger.session()
        with pytest.raises(asyncpg.OutOfMemoryError):
            await one.execute("select pg_advisory_lock(i) from generate_series(1, 100000) as i")
        await one.execute("select pg_advisory_unlock_all()")
        await fill(one)
        with pytest.raises(asyncpg.OutOfMemoryError):
            await insert(server.writer, *range(2, 100))
        await one.close()
        await insert(server.writer, 100)
        await eventually(lambda: published(server, 100))


async def fill(connection: Any) -> None:
    """Take locks until there is no room for another."""
    key = 0
    with suppress(asyncpg.OutOfMemoryError):
        while True:
            key += 1
            await connection.execute("select pg_advisory_lock($1)", key)


async def published(server: Server, row_id: int) -> bool:
    return row_id in await server.seen.ids()
