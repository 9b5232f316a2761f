"""Settings reloaded under a notifier that publishes: every change of `demo` comes once, whatever happens."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from prometheus_client import generate_latest

from notifier.leadership.lease_store import LeaseStore
from notifier.leadership.timings import LeadershipTimings
from notifier.timings import DEFAULTS, Timings
from realtime import names
from realtime.errors import SettingError
from realtime.redis.client import connect
from realtime.settings.config import Limits, Settings
from tests.change_stream import background
from tests.gateway_fixture import eventually
from tests.notifier_fixture import (
    ORDERS,
    PROJECT,
    Witness,
    enable,
    insert,
    notifier,
    project_at,
    session,
    settings_at,
    witness,
)
from tests.reload_fixture import Live, series_of
from tests.servers import fresh_database

OURS = """
    select pid from pg_stat_activity
    where datname = current_database() and application_name like 'realtime%'
"""


@pytest_asyncio.fixture
async def settings(orders_url: str, redis_url: str) -> Settings:
    return settings_at(redis_url, demo=project_at(orders_url))


@pytest.fixture
def live(settings: Settings, caplog: pytest.LogCaptureFixture) -> Live:
    return Live(settings, caplog)


@pytest_asyncio.fixture
async def other(other_url: str) -> AsyncIterator[Any]:
    """A session in the database of a second project."""
    async with session(other_url) as connection:
        yield connection


@asynccontextmanager
async def writing(orders_url: str, settings: Settings) -> AsyncIterator[None]:
    """Write to `demo` while the block runs; every change must come once, in order."""
    numbers = itertools.count(1)
    async with session(orders_url) as writer:

        async def keep_writing() -> None:
            while True:
                await insert(writer, next(numbers))
                await asyncio.sleep(0.005)

        async with background(asyncio.create_task(keep_writing(), name="writing")):
            yield
    async with session(orders_url) as reader, witness(settings) as seen:
        count = await reader.fetchval("select count(*) from orders")
        await seen.sees(count)
        assert await seen.ids() == list(range(1, count + 1))


@asynccontextmanager
async def running(live: Live, orders_url: str, timings: Timings = DEFAULTS) -> AsyncIterator[None]:
    async with (
        notifier(live.settings, live.reloads, timings=timings),
        writing(orders_url, live.settings),
    ):
        yield


async def pids(connection: Any, statement: str = OURS) -> set[int]:
    """The notifier's sessions in this database, of its feed and of its caretaker."""
    return {row["pid"] for row in await connection.fetch(statement)}


async def feed_of(connection: Any) -> set[int]:
    """The two sessions of a feed."""
    statement = OURS.replace("realtime%", "realtime notifier%")

    async def both() -> set[int] | None:
        found = await pids(connection, statement)
        return found if len(found) == 2 else None

    found: set[int] = await eventually(both)
    return found


async def nobody(connection: Any) -> bool:
    return not await pids(connection)


async def lease(redis_url: str, project: str) -> Any:
    async with connect(redis_url) as store:
        return await store.call("GET", names.notifier(project))


async def sees(settings: Settings, project: str, ids: list[int]) -> None:
    async with witness(settings, project) as seen:
        await seen.sees(len(ids))
        assert await seen.ids() == ids


async def test_an_added_projects_changes_come_and_the_other_feed_goes_on(
    live: Live, orders_url: str, other_url: str, other: Any
) -> None:
    await insert(other, 1)
    async with running(live, orders_url), session(orders_url) as connection:
        before = await feed_of(connection)
        await live.become(other=project_at(other_url))
        await insert(other, 2)
        await sees(live.settings, "other", [1, 2])
        assert await feed_of(connection) == before
        assert 'realtime_notifier_live{project="other"} 1.0' in generate_latest().decode()


async def test_of_a_removed_project_nothing_is_left_and_the_other_feed_goes_on(
    live: Live,
    orders_url: str,
    other_url: str,
    other: Any,
    redis_url: str,
) -> None:
    # The lease is given up, and does not just expire.
    long_leases = Timings(leadership=LeadershipTimings(lease_seconds=60.0))
    live.become_before(other=project_at(other_url))
    async with running(live, orders_url, long_leases), session(orders_url) as connection:
        before = await feed_of(connection)
        await insert(other, 1)
        await sees(live.settings, "other", [1])
        await eventually(lambda: lease(redis_url, "other"))
        await live.become(other=None)
        await eventually(lambda: nobody(other))
        await eventually(lambda: no_lease(redis_url, "other"))
        await eventually(lambda: served_by_all(redis_url, [PROJECT]))
        await eventually(lambda: not series_of("notifier", "other"))
        assert await feed_of(connection) == before
        assert await lease(redis_url, PROJECT)


async def served_by_all(redis_url: str, projects: list[str]) -> bool:
    """Whether that is what the notifiers tell each other."""
    async with connect(redis_url) as store:
        facts = await LeaseStore(store, "watcher", 0.1).sign_in(b"{}")
    serves = [msgspec.json.decode(fact)["serves"] for name, fact in facts.items() if name != "watcher"]
    return serves == [projects]


async def no_lease(redis_url: str, project: str) -> bool:
    return await lease(redis_url, project) is None


async def test_what_is_written_while_a_project_is_away_comes_when_it_is_added_again(
    live: Live, orders_url: str, other_url: str, other: Any
) -> None:
    """Wait each time until history has every row, in order."""
    live.become_before(other=project_at(other_url))
    async with running(live, orders_url):
        for round_of in range(3):
            await insert(other, 2 * round_of + 1)
            await sees(live.settings, "other", list(range(1, 2 * round_of + 2)))
            await live.become(other=None)
            await insert(other, 2 * round_of + 2)
            await live.become(other=project_at(other_url))
        await sees(live.settings, "other", [1, 2, 3, 4, 5, 6])


@pytest.mark.parametrize(
    ("changed", "is_restarted"),
    [
        ({"history_entries": 1_000_000}, True),
        ({"outbox_max_rows": 1_000_000}, True),
        ({"doorbell": "off"}, True),
        ({"limits": Limits(max_connections=7), "allowed_origins": ["*"]}, False),
        ({"jwt_secret": "a newer secret of more than 32 bytes"}, False),
    ],
)
async def test_a_feed_begins_anew_only_where_a_change_is_about_it(
    live: Live, orders_url: str, changed: dict[str, Any], is_restarted: bool
) -> None:
    async with running(live, orders_url), session(orders_url) as connection:
        before = await feed_of(connection)
        await live.change(PROJECT, **changed)
        if is_restarted:
            await eventually(lambda: are_gone(connection, before))
        assert (await feed_of(connection) != before) is is_restarted


async def are_gone(connection: Any, before: set[int]) -> bool:
    return not before & await pids(connection)


async def test_another_database_is_read_from_then_on(
    live: Live, other_url: str, other: Any, postgres_url: str
) -> None:
    """Wait until the former has no session, a new epoch began, and a row of the new one is published."""
    async with fresh_database(postgres_url) as former_url, session(former_url) as former:
        await enable(former_url)
        live.become_before(other=project_at(former_url))
        async with notifier(live.settings, live.reloads), witness(live.settings, "other") as seen:
            await insert(former, 1)
            await seen.sees(1)
            before = await epoch(seen)
            await live.change("other", database_url=other_url)
            await eventually(lambda: nobody(former))
            await eventually(lambda: has_begun_anew(seen, before))
            start = await seen.offset()
            await insert(other, 7)
            await seen.sees(start + 1)


async def epoch(seen: Witness) -> str:
    return (await seen.broker.position(seen.project, ORDERS.topic)).epoch


async def has_begun_anew(seen: Witness, before: str) -> bool:
    """Its subscribers were told `resync`: what comes is of another database."""
    return await epoch(seen) != before


async def test_a_wrong_file_changes_nothing(live: Live, orders_url: str, other_url: str, other: Any) -> None:
    async with running(live, orders_url), session(orders_url) as connection:
        before = await feed_of(connection)
        wrong = SettingError("projects.other.database_url", "missing")
        assert (await live.be_refused(wrong))["setting"] == "projects.other.database_url"
        assert (await live.be_refused(poll_seconds=7))["setting"] == "poll_seconds"
        assert await feed_of(connection) == before
        assert await nobody(other)


async def test_a_notifier_that_was_not_reloaded_yet_takes_a_removed_project_over(
    settings: Settings, other_url: str, other: Any, orders_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    both = settings_at(settings.redis_url, demo=project_at(orders_url), other=project_at(other_url))
    first, second = Live(both, caplog), Live(both, caplog)
    async with (
        notifier(both, first.reloads),
        notifier(both, second.reloads),
        writing(orders_url, both),
        witness(both, "other") as seen,
    ):
        await feed_of(other)
        numbers = itertools.count(1)
        for one, outcome in ((first, None), (second, None), (second, both.projects["other"])):
            await insert(other, next(numbers))
            await one.become(other=outcome)
        await seen.sees(3)
        await first.become(other=both.projects["other"])
        await insert(other, next(numbers))
        await seen.sees(4)
        assert await seen.ids() == [1, 2, 3, 4]
        await first.become(other=None)
        await second.become(other=None)
        await eventually(lambda: nobody(other))
