"""How a feed ends when its project goes: by itself between two batches, or by force where it cannot."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from notifier import sessions
from notifier.feed.feed_settings import FeedSettings
from notifier.project import ProjectFeed, State
from notifier.timings import Timings
from realtime.redis.history import table_history
from tests.change_stream import DEADLINE
from tests.gateway_fixture import eventually
from tests.notifier_fixture import (
    HOUR,
    LISTENING,
    PROJECT,
    asleep,
    enable,
    notifier,
    project_at,
    session,
    settings_at,
    witness,
)
from tests.ports import free_port
from tests.reload_fixture import Live
from tests.servers import fresh_database

SESSIONS = """
    select query from pg_stat_activity
    where datname = current_database() and application_name like 'realtime notifier%'
"""


async def nobody(connection: Any) -> bool:
    """Whether no feed has a session in this database."""
    return not await connection.fetch(LISTENING)


@pytest.mark.parametrize("is_asleep", [True, False])
async def test_a_feed_that_is_dismissed_ends_by_itself(
    redis_url: str, postgres_url: str, is_asleep: bool
) -> None:
    """Asleep for an hour, or waiting for a schema."""
    settings = settings_at(redis_url, demo=project_at(postgres_url))
    async with (
        fresh_database(postgres_url) as url,
        session(url) as connection,
        witness(settings) as seen,
    ):
        if is_asleep:
            await enable(url)
        history = table_history(settings, PROJECT)
        feed = ProjectFeed(FeedSettings(PROJECT, project_at(url), history, HOUR), seen.publications)
        task = asyncio.create_task(feed.run(), name="feed")
        if is_asleep:
            await asleep(connection)
        else:
            await eventually(lambda: feed.state is State.NO_SCHEMA)
        feed.dismiss()
        async with asyncio.timeout(DEADLINE):
            await task
        await eventually(lambda: nobody(connection))


async def test_a_feed_that_waits_for_redis_is_ended_with_its_project(
    orders_url: str, writer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It cannot come to the end of its batch."""
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    unreachable = project_at(f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
    live = Live(settings_at(nowhere, demo=unreachable, other=project_at(orders_url)), caplog)
    async with notifier(live.settings, live.reloads, timings=Timings(last_batch_seconds=0.2)):
        await eventually(lambda: leads(writer))
        await live.become(other=None)
        await eventually(lambda: nobody(writer))


async def leads(connection: Any) -> bool:
    return len(await connection.fetch(LISTENING)) == 2


async def test_a_feed_that_is_cut_off_while_it_connects_leaves_no_session(
    orders_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def is_connecting() -> bool:
        return "pg_sleep" in "".join(row["query"] for row in await connection.fetch(SESSIONS))

    async def no_session() -> bool:
        return not await connection.fetch(SESSIONS)

    monkeypatch.setattr(sessions, "_SESSION_OF_17", "select pg_sleep(60)")
    async with session(orders_url) as connection:
        task = asyncio.create_task(sessions.connect(orders_url), name="connect")
        await eventually(is_connecting)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await eventually(no_session)
