"""Who leads, by what stands in Redis and who holds the lock: on real servers, with the times cut short.

Long, since each story needs two notifiers and both stores at once.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from notifier.feed.timings import FeedTimings
from notifier.leadership.candidacy import GRACE_SECONDS
from notifier.leadership.lease_store import Claim, LeaseStore, Wish
from notifier.leadership.timings import LeadershipTimings
from notifier.timings import Timings
from realtime import names
from realtime.postgres.migrations import migration_sql
from realtime.redis.client import connect
from realtime.settings.config import Settings
from tests.chaos.link import Link, Silence
from tests.clean_log import logged
from tests.gateway_fixture import eventually, stays
from tests.notifier_fixture import (
    LISTENING,
    PROJECT,
    asleep,
    insert,
    late_changes,
    lead,
    notifier,
    project_at,
    session,
    settings_at,
    witness,
)
from tests.schema_fixture import psql
from tests.servers import throw_away_valkey
from tests.stranger_fixture import as_role

LEADER_NAME = f"realtime notifier {PROJECT}"


@pytest_asyncio.fixture
async def settings(orders_url: str, redis_url: str) -> Settings:
    return settings_at(redis_url, demo=project_at(orders_url))


# Silence is soon over.
PATIENCE = LeadershipTimings(silent_seconds=LeadershipTimings().lease_seconds + 0.5, same_holder_seconds=0.5)
IMPATIENT = Timings(leadership=PATIENCE)


async def pids(connection: Any) -> set[int]:
    return {row["pid"] for row in await connection.fetch(LISTENING)}


async def _has_sessions(connection: Any, expected: set[int]) -> bool:
    return await pids(connection) == expected


async def lease(redis_url: str) -> Any:
    async with connect(redis_url) as store:
        return await store.call("GET", names.notifier(PROJECT))


def stands_by(caplog: pytest.LogCaptureFixture) -> bool:
    """Whether a notifier has told that it does."""
    return "standby" in [facts["state"] for facts in logged(caplog, "feed_state_changed")]


@asynccontextmanager
async def leader_and_standby(
    settings: Settings, writer: Any, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[AsyncExitStack]:
    """Two notifiers; what is yielded stops the leader."""
    caplog.set_level(logging.INFO)
    async with AsyncExitStack() as standby, AsyncExitStack() as first:
        await first.enter_async_context(notifier(settings))
        await asleep(writer)
        await eventually(lambda: lease(settings.redis_url))
        caplog.clear()  # the leader may have told that it stands by, before it knew that nobody leads
        await standby.enter_async_context(notifier(settings))
        await eventually(lambda: stands_by(caplog))
        yield first


async def test_a_standby_has_no_session_and_leads_when_the_leader_stops(
    settings: Settings, writer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with witness(settings) as seen, leader_and_standby(settings, writer, caplog) as leading:
        await asleep(writer)
        before = await pids(writer)
        await insert(writer, 1)
        await seen.sees(1)
        await asleep(writer)
        # The session that showed that the standby could lead may end late.
        await eventually(lambda: _has_sessions(writer, before))
        await leading.aclose()
        await insert(writer, 2)
        await seen.sees(2)
        await asleep(writer)
        assert not await pids(writer) & before
        assert await seen.ids() == [1, 2]


@pytest.mark.parametrize("is_older", [False, True])
async def test_a_leader_that_is_silent_is_ended_and_its_writers_ring_again(
    settings: Settings, writer: Any, orders_url: str, is_older: bool
) -> None:
    """A leader that hangs, of now or of schema version 3, when the lead was an advisory lock."""
    async with session(orders_url, application_name=LEADER_NAME) as lost, witness(settings) as seen:
        if is_older:
            await lost.execute("select pg_advisory_lock($1::bigint)", names.LEADER_LOCK)
        else:
            await lead(lost)
        await writer.execute("select setval('realtime.silent_until', 99999999999)")
        async with notifier(settings, timings=IMPATIENT):
            await insert(writer, 1)
            await seen.sees(1)
            await eventually(lost.is_closed)
            await asleep(writer)
            before = late_changes()
            await insert(writer, 2)
            await seen.sees(2)
            assert late_changes() == before


async def is_left_alone(connection: Any, caplog: pytest.LogCaptureFixture) -> None:
    """See that whoever has the lock is left alone, for longer than the patience of a notifier."""
    await eventually(lambda: stands_by(caplog))
    await stays(lambda: connection.fetchval("select true"), PATIENCE.silent_seconds + GRACE_SECONDS)


@pytest.mark.parametrize("name", ["realtime notifier other", "realtime notifier", "psql"])
async def test_a_holder_that_is_no_notifier_of_the_project_is_left_alone(
    settings: Settings, orders_url: str, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """See that its session lives for longer than the patience of a notifier."""
    caplog.set_level(logging.INFO)
    async with session(orders_url, application_name=name) as holder:
        await lead(holder)
        async with notifier(settings, timings=IMPATIENT):
            await is_left_alone(holder, caplog)


async def test_a_holder_whose_lease_is_fresh_is_left_alone(
    settings: Settings, orders_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with session(orders_url, application_name=LEADER_NAME) as holder:
        its_own = await lead(holder)
        async with connect(settings.redis_url) as store:
            await LeaseStore(store, "somebody", 60).leases([Claim(PROJECT, Wish.TAKE)])
        async with notifier(settings, timings=IMPATIENT):
            await is_left_alone(holder, caplog)
            assert await pids(holder) == {its_own}, "a standby holds no session"


@pytest.mark.standalone
async def test_while_redis_is_away_no_leader_is_ended(
    orders_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """See that its session lives for longer than the patience of a notifier."""
    caplog.set_level(logging.INFO)
    async with throw_away_valkey(tmp_path) as server:
        settings = settings_at(server.url, demo=project_at(orders_url))
    async with session(orders_url, application_name=LEADER_NAME) as holder:
        await lead(holder)
        async with notifier(settings, timings=IMPATIENT):
            await is_left_alone(holder, caplog)


async def test_a_missing_right_to_end_a_silent_leader_is_told_once(
    database_url: str, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with session(database_url) as administrator:
        await administrator.execute("create role weak login password 'weak'")
        await psql(database_url, migration_sql("weak"))
        async with session(database_url, application_name=LEADER_NAME) as holder:
            await lead(holder)
            async with notifier(
                settings_at(redis_url, demo=project_at(as_role(database_url, "weak"))), timings=IMPATIENT
            ):
                await eventually(lambda: "silent_leader_not_ended" in caplog.text)
                await is_left_alone(holder, caplog)
        await administrator.execute("drop owned by weak; drop role weak")
    assert len(logged(caplog, "silent_leader_not_ended")) == 1


async def test_of_two_projects_on_one_database_one_leads_and_ends_nobody(
    orders_url: str, redis_url: str, writer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    settings = settings_at(redis_url, other=project_at(orders_url), demo=project_at(orders_url))
    async with notifier(settings, timings=IMPATIENT):

        async def three() -> bool:
            return len(await pids(writer)) == 3

        await eventually(three)
        before = await pids(writer)
        await is_left_alone(writer, caplog)
        assert await pids(writer) == before


async def test_a_leader_that_lost_its_session_gives_its_lease_up(
    settings: Settings, postgres_url: str, orders_url: str
) -> None:
    """Wait until its lease is gone, and until it has one again with its next session."""
    name = urlsplit(orders_url).path.removeprefix("/")
    async with notifier(settings), session(postgres_url) as administrator:
        await eventually(lambda: lease(settings.redis_url))
        await administrator.execute(f"alter database {name} allow_connections false")
        await administrator.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name
        )

        async def given_up() -> bool:
            return not await lease(settings.redis_url)

        await eventually(given_up)
        await administrator.execute(f"alter database {name} allow_connections true")
        await eventually(lambda: lease(settings.redis_url))


async def test_a_leader_whose_database_is_silent_gives_way_to_one_that_can_reach_it(
    settings: Settings,
    writer: Any,
    orders_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    timings = Timings(feed=FeedTimings(snapshot_seconds=1.0), leadership=PATIENCE)
    address = urlsplit(orders_url)
    link = Link("postgres", address.port or 0)
    async with witness(settings) as seen, link.listening(), AsyncExitStack() as standby:
        netloc = f"{address.netloc.rpartition(':')[0]}:{link.port}"
        by_link = project_at(address._replace(netloc=netloc).geturl())
        async with notifier(settings_at(settings.redis_url, demo=by_link), timings=timings):
            await asleep(writer)
            await eventually(lambda: lease(settings.redis_url))
            before = await lease(settings.redis_url)
            caplog.clear()
            await standby.enter_async_context(notifier(settings, timings=timings))
            await eventually(lambda: stands_by(caplog))
            link.black_hole(Silence.HELD)
            await insert(writer, 1)
            await seen.sees(1)
            assert logged(caplog, "silent_leader_ended")
            await eventually(lambda: lease(settings.redis_url))
            assert await lease(settings.redis_url) != before
            link.heal()
            await insert(writer, 2)
            await seen.sees(2)
        assert await seen.ids() == [1, 2]
