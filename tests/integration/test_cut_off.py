"""What is cut off in the middle ends, whatever else goes wrong then: its task, its statement, its session."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import Any

import pytest

from notifier import app
from notifier.feed.feed import Feed
from notifier.feed.feed_settings import FeedSettings
from notifier.leadership.candidacy import NEVER
from notifier.maintenance import maintain
from notifier.project import ProjectFeed, State
from notifier.sessions import connect
from realtime.postgres.pool import Database, transaction
from realtime.redis.history import table_history
from realtime.settings.config import Settings
from tests.change_stream import DEADLINE, background
from tests.gateway_fixture import eventually
from tests.notifier_fixture import (
    HOUR,
    LISTENING,
    PROJECT,
    Witness,
    insert,
    project_at,
    session,
    settings_at,
    witness,
)

END_ALL = "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'realtime%'"


SLEEP = "select pg_sleep(600)"
SLEEPING = f"select pid from pg_stat_activity where query = '{SLEEP}' and state = 'active'"


@pytest.mark.parametrize("is_frozen", [False, True])
async def test_a_transaction_that_is_cut_off_ends(orders_url: str, writer: Any, is_frozen: bool) -> None:
    """Also where the server is silent: then the session is ended."""

    async def work() -> None:
        async with database.connection() as connection, transaction(connection):
            await connection.execute(SLEEP)

    database = Database(project_at(orders_url))
    task = asyncio.create_task(work(), name="work")
    pid = await eventually(lambda: writer.fetchval(SLEEPING))
    with frozen(pid) if is_frozen else nullcontext():
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await eventually(lambda: nobody_sleeps(writer))
    async with database.connection() as connection:
        is_another = await connection.fetchval("select pg_backend_pid()") != pid
    assert is_another is is_frozen
    await database.close()


class Beginning:
    """A connection, and a transaction of it, that is cut off when the server may have begun it."""

    def __init__(self) -> None:
        self.asked, self.is_ended = asyncio.Event(), False

    def transaction(self, **_options: Any) -> Beginning:
        return self

    async def start(self) -> None:
        self.asked.set()
        await asyncio.Event().wait()

    def terminate(self) -> None:
        self.is_ended = True


async def test_a_transaction_that_is_cut_off_while_it_begins_ends_its_session() -> None:
    connection: Any = Beginning()

    async def work() -> None:
        async with transaction(connection):
            pytest.fail("it never began")

    task = asyncio.create_task(work(), name="work")
    async with asyncio.timeout(DEADLINE):
        await connection.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert connection.is_ended


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def nobody_sleeps(connection: Any) -> bool:
    return not await connection.fetch(SLEEPING)


@pytest.mark.parametrize("round_of", range(4))
async def test_a_notifier_ends_though_its_sessions_are_lost_in_the_same_moment(
    orders_url: str, redis_url: str, writer: Any, round_of: int
) -> None:
    """As when all of a host is stopped."""
    settings = settings_at(redis_url, demo=project_at(orders_url))
    async with session(orders_url) as other:
        async with background(asyncio.create_task(write(other), name="write")):
            task = asyncio.create_task(app.run(settings, "127.0.0.1", None, None), name="notifier")
            await eventually(lambda: writer.fetch(LISTENING))
            await asyncio.sleep(0.1 * round_of)
            task.cancel()
            await writer.execute(END_ALL)
            await asyncio.wait([task], timeout=60)
        assert task.cancelled()


async def write(connection: Any) -> None:
    while True:
        await connection.execute(
            "insert into orders select (select coalesce(max(id), 0) from orders) + generate_series(1, 500)"
        )


@asynccontextmanager
async def looked_after(settings: Settings, seen: Witness, state: State) -> AsyncIterator[ProjectFeed]:
    """A feed that has the lock and does nothing, and who looks after it."""
    history = table_history(settings, PROJECT)
    feed = ProjectFeed(FeedSettings(PROJECT, settings.projects[PROJECT], history, HOUR), seen.publications)
    feed.state, feed.candidacy.leads_since = state, 0.0
    async with background(asyncio.create_task(maintain(feed, mend_seconds=5.0), name="maintain")):
        yield feed


@pytest.mark.parametrize("state", [State.CONNECTING, State.NO_SCHEMA])
async def test_a_leader_without_a_place_hears_of_its_database_and_deletes_nothing(
    orders_url: str, redis_url: str, writer: Any, state: State
) -> None:
    """It may delete for long what another database captured; what is there now may not be its own."""
    reader = await connect(orders_url)
    feed = Feed(reader)
    await feed.resume()
    await insert(writer, 1)
    await feed.take()
    await feed.confirm()
    settings = settings_at(redis_url, demo=project_at(orders_url))
    async with witness(settings) as seen, looked_after(settings, seen, state) as idle:
        for _ in range(2):
            idle.candidacy.heard_at = NEVER
            await eventually(lambda: idle.candidacy.heard_at > NEVER)
        assert await writer.fetchval("select count(*) from realtime.outbox") == 1
        idle.state = State.LIVE
        await eventually(lambda: is_empty(writer))
    reader.terminate()


async def is_empty(connection: Any) -> bool:
    return not await connection.fetchval("select count(*) from realtime.outbox")


async def test_a_database_does_not_choose_how_the_notifier_reads(orders_url: str, writer: Any) -> None:
    name = await writer.fetchval("select current_database()")
    for setting, value in (("isolation", "serializable"), ("read_only", "on"), ("deferrable", "on")):
        await writer.execute(f"alter database {name} set default_transaction_{setting} = '{value}'")
    connection = await connect(orders_url)
    found = [
        await connection.fetchval(f"show transaction_{setting}")
        for setting in ("isolation", "read_only", "deferrable")
    ]
    connection.terminate()
    assert found == ["read committed", "off", "off"]
