"""The notifier while Postgres or Redis is away, or set up otherwise: servers of the test's own."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path

import pytest

from tests.gateway_fixture import eventually
from tests.notifier_fixture import (
    asleep,
    enable,
    late_changes,
    notifier,
    project_at,
    session,
    settings_at,
    witness,
)
from tests.servers import throw_away_postgres, throw_away_valkey

KEEP = {"appendonly": "yes"}
OTHER_SETTINGS = {"max_prepared_transactions": "10", "track_commit_timestamp": "on"}


@pytest.mark.standalone
async def test_while_redis_is_away_changes_wait_and_then_come_once(database_url: str, tmp_path: Path) -> None:
    await enable(database_url)
    async with throw_away_valkey(tmp_path, KEEP) as server:
        settings = settings_at(server.url, demo=project_at(database_url))
        before = late_changes()
        async with notifier(settings), session(database_url) as writer:
            await writer.execute("insert into orders select generate_series(1, 7000), 'note'")
            async with witness(settings) as seen:
                await seen.sees(7_000)
            await asleep(writer)
            await server.stop()
            for row_id in (7_001, 7_002):
                await writer.execute("insert into orders values ($1, 'note')", row_id)
            await writer.execute("insert into orders select generate_series(7003, 20000), 'note'")
            async with throw_away_valkey(tmp_path, KEEP), witness(settings) as seen:
                await seen.sees(20_000)
                assert await seen.ids() == list(range(1, 20_001))
                assert late_changes() == before


async def test_when_the_database_is_back_the_notifier_goes_on(redis_url: str, tmp_path: Path) -> None:
    async with throw_away_postgres(tmp_path) as server:
        await enable(server.url)
        settings = settings_at(redis_url, demo=project_at(server.url))
        async with notifier(settings), witness(settings) as seen:
            async with session(server.url) as writer:
                await asleep(writer)
                await writer.execute("insert into orders values (1, 'note')")
                await seen.sees(1)
            await server.stop()
            async with throw_away_postgres(tmp_path), session(server.url) as writer:
                await writer.execute("insert into orders values (2, 'note')")
                await seen.sees(2)
                await asleep(writer)
                await writer.execute("insert into orders values (3, 'note')")
                await seen.sees(3)
                assert await seen.ids() == [1, 2, 3]


async def test_prepared_transactions_are_captured_with_the_time_of_their_commit(
    redis_url: str, tmp_path: Path
) -> None:
    async with throw_away_postgres(tmp_path, OTHER_SETTINGS) as server:
        await enable(server.url)
        settings = settings_at(redis_url, demo=project_at(server.url))
        async with notifier(settings), witness(settings) as seen, session(server.url) as writer:
            await writer.execute("begin; insert into orders values (1, 'note'); prepare transaction 'one'")
            await writer.execute("insert into orders values (2, 'note')")
            await seen.sees(1)
            assert await seen.ids() == [2]
            await writer.execute("commit prepared 'one'")
            await seen.sees(2)
            committed = await writer.fetch(
                "select id, pg_xact_commit_timestamp(xmin) as at from orders order by at"
            )
            changes = await seen.changes()
            assert [change["data"]["id"] for change in changes] == [row["id"] for row in committed] == [2, 1]
            for change, row in zip(changes, committed, strict=True):
                assert datetime.fromisoformat(change["commit_timestamp"]) == row["at"]


@pytest.mark.standalone
async def test_a_notifier_that_starts_before_its_servers_finds_them(tmp_path: Path) -> None:
    """Wait until a change is published that was made before Redis came."""
    async with throw_away_postgres(tmp_path) as database, throw_away_valkey(tmp_path, KEEP) as broker:
        await enable(database.url)
        settings = settings_at(broker.url, demo=project_at(database.url))
        await database.stop()
        await broker.stop()
    async with notifier(settings) as running:
        await asyncio.sleep(0)
        async with throw_away_postgres(tmp_path), session(database.url) as writer:
            await writer.execute("insert into orders values (1, 'note')")
            async with throw_away_valkey(tmp_path, KEEP), witness(settings) as seen:
                await seen.sees(1)
                await eventually(lambda: not running.done())
