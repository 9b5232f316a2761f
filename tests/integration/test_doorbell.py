"""The doorbell: no ring while it is silenced, and never a change that only the slow poll would find."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from notifier.feed.doorbell import Doorbell, listening
from notifier.feed.feed_settings import FeedSettings
from notifier.feed.follower import Follower
from notifier.feed.publication_store import PublicationStore
from notifier.feed.publisher import Publisher
from notifier.feed.timings import FeedTimings
from notifier.project import ProjectFeed, State
from notifier.sessions import connect, query
from realtime.settings.config import Settings
from tests.change_stream import DEADLINE, background
from tests.gateway_fixture import eventually
from tests.notifier_fixture import (
    HOUR,
    PROJECT,
    Witness,
    asleep,
    awake,
    insert,
    late_changes,
    lead,
    project_at,
    session,
    settings_at,
)

SILENT_UNTIL = "select last_value from realtime.silent_until"

UNRENEWED = FeedTimings(silence_seconds=3, renew_seconds=HOUR)


@pytest_asyncio.fixture
async def doorbell(orders_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Doorbell]:
    """The doorbell of a leader that has lock 1; a parameter, if any, is its timings."""
    timings = getattr(request, "param", FeedTimings())
    async with session(orders_url) as leader:
        await lead(leader, 1)
        async with listening(await connect(orders_url), 1, timings) as doorbell:
            yield doorbell


async def test_a_commit_rings_while_the_notifier_sleeps(doorbell: Doorbell, writer: Any) -> None:
    await insert(writer, 1)
    assert await doorbell.wait(DEADLINE)
    assert doorbell.rings == 1


async def test_no_commit_rings_while_it_is_awake(doorbell: Doorbell, writer: Any) -> None:
    doorbell.silence()
    await awake(writer)
    await insert(writer, 1)
    await doorbell.unsilence()
    await insert(writer, 2)
    assert await doorbell.wait(DEADLINE)
    assert doorbell.rings == 1


async def test_silence_needs_no_transaction_to_end_and_no_writer_waits_for_it(
    doorbell: Doorbell, writer: Any, orders_url: str
) -> None:
    async with session(orders_url) as slow, slow.transaction():
        await insert(slow, 1)  # rings at its commit
        doorbell.silence()
        await awake(writer)
        async with asyncio.timeout(DEADLINE):
            await insert(writer, 2)
        await doorbell.unsilence()
        assert doorbell.rings == 0
        await insert(writer, 3)
        assert await doorbell.wait(DEADLINE)


async def test_silence_ends_also_when_it_was_asked_for_in_the_same_moment(
    doorbell: Doorbell, writer: Any
) -> None:
    """Wait each time until the bell has rung."""
    for row_id in range(20):
        doorbell.silence()
        await doorbell.unsilence()
        before = doorbell.rings
        await insert(writer, row_id)
        await eventually(lambda before=before: doorbell.rings > before)


@pytest.mark.parametrize("doorbell", [FeedTimings(renew_seconds=0.1)], indirect=True, ids=[""])
async def test_silence_lasts_as_long_as_it_is_wanted(doorbell: Doorbell, writer: Any) -> None:
    """Whatever keeps the feed from going on meanwhile, as a long batch, or Redis."""
    doorbell.silence()
    await awake(writer)
    first = await writer.fetchval(SILENT_UNTIL)

    async def renewed() -> bool:
        return await writer.fetchval(SILENT_UNTIL) > first

    await eventually(renewed)
    doorbell.check()


@pytest.mark.parametrize("doorbell", [UNRENEWED], indirect=True, ids=[""])
async def test_silence_that_nobody_ended_runs_out(doorbell: Doorbell, writer: Any) -> None:
    """As that of a notifier that was killed."""
    doorbell.silence()
    await awake(writer)

    async def run_out() -> bool:
        return bool(await writer.fetchval(f"select clock_timestamp() > to_timestamp(({SILENT_UNTIL}))"))

    await eventually(run_out)
    await insert(writer, 1)
    assert await doorbell.wait(DEADLINE)


async def test_who_leads_no_more_silences_nobody(doorbell: Doorbell, writer: Any, orders_url: str) -> None:
    async with session(orders_url) as another:
        await lead(another, 2)
        assert await writer.fetch(query("silence"), 1, 60) == []
        await insert(writer, 1)
        assert await doorbell.wait(DEADLINE)


async def test_a_lost_session_ends_the_wait_at_once(doorbell: Doorbell, writer: Any) -> None:
    waiting = asyncio.create_task(doorbell.wait(HOUR))
    await writer.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'realtime notifier'"
        " and datname = current_database()"
    )
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(waiting, DEADLINE)


async def test_a_cancellation_is_not_lost_while_the_silence_is_ended(doorbell: Doorbell) -> None:
    doorbell.silence()
    ending = asyncio.create_task(doorbell.unsilence())
    await asyncio.sleep(0)
    ending.cancel()
    await asyncio.wait([ending])
    assert ending.cancelled()


async def test_silence_that_failed_is_told(doorbell: Doorbell, writer: Any) -> None:
    await writer.execute("alter sequence realtime.silent_until rename to another")
    doorbell.silence()
    with pytest.raises(asyncpg.UndefinedTableError):
        await eventually(doorbell.check)


class HeldSilent(Follower):
    """Keeps the bell silenced until it is told to go on."""

    go_on: asyncio.Event

    async def _look_while_silent(self, least_pause: float = 0.0, until_rung: bool = True) -> None:
        await super()._look_while_silent(least_pause, until_rung)
        await self.go_on.wait()


class Careless(HeldSilent):
    """Gives the bell back without a barrier."""

    async def _expect_the_silent(self) -> None:
        pass


class Held(ProjectFeed):
    """A feed with another kind of follower."""

    kind: type[HeldSilent]
    go_on: asyncio.Event

    def _follower(self, publisher: Publisher, doorbell: Doorbell) -> Follower:
        follower = self.kind(self._settings, publisher, doorbell, partial(self._between_batches, publisher))
        follower.go_on = self.go_on
        return follower


@pytest_asyncio.fixture
async def settings(orders_url: str, redis_url: str) -> Settings:
    return settings_at(redis_url, demo=project_at(orders_url))


async def commit_when_the_bell_is_given_back(
    kind: type[HeldSilent], settings: Settings, seen: Witness
) -> None:
    """A writer finds the bell silenced and commits when the notifier waits for rings."""
    url = settings.projects[PROJECT].database_url
    feed = Held(FeedSettings.of(settings, PROJECT), seen.publications)
    feed.kind, feed.go_on = kind, asyncio.Event()
    async with (
        session(url) as slow,
        session(url) as other,
        background(asyncio.create_task(feed.run(), name="feed")),
    ):
        await awake(other)
        async with slow.transaction():
            await insert(slow, 1)
            feed.go_on.set()
            await asleep(other)
        await seen.sees(1)


async def test_who_found_the_bell_silenced_is_seen_without_the_poll(
    settings: Settings, seen: Witness
) -> None:
    before = late_changes()
    await commit_when_the_bell_is_given_back(HeldSilent, settings, seen)
    assert late_changes() == before


async def test_without_a_barrier_only_the_poll_sees_it(settings: Settings, seen: Witness) -> None:
    before = late_changes()
    polling = msgspec.structs.replace(settings, poll_seconds=0.5)
    await commit_when_the_bell_is_given_back(Careless, polling, seen)
    await eventually(lambda: late_changes() == before + 1)


async def test_who_found_the_queue_full_is_seen_without_the_poll_when_it_has_room_again(
    settings: Settings, seen: Witness, orders_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that may not ring for another reason stands for one that found the queue full."""
    answers = []
    has_room = asyncio.Event()

    async def can_be_rung(doorbell: Doorbell) -> bool:
        answers.append(has_room.is_set())
        return answers[-1]

    monkeypatch.setattr(Doorbell, "can_be_rung", can_be_rung)
    before = late_changes()
    feed = ProjectFeed(FeedSettings.of(settings, PROJECT), seen.publications)
    async with (
        session(orders_url) as slow,
        session(orders_url) as other,
        background(asyncio.create_task(feed.run(), name="feed")),
    ):
        await eventually(lambda: answers)
        await other.execute("select setval('realtime.silent_until', 99999999999)")
        async with slow.transaction():
            await insert(slow, 1)
            await other.execute("select setval('realtime.silent_until', 1)")
            has_room.set()
            await eventually(lambda: answers[-1])
        await seen.sees(1)
    assert late_changes() == before


class Slow(PublicationStore):
    """Takes no changes until it may."""

    may = asyncio.Event()

    async def publish(self, *batch: Any) -> int:
        await self.may.wait()
        return await super().publish(*batch)


async def test_no_writer_rings_while_redis_takes_long(
    settings: Settings, seen: Witness, orders_url: str
) -> None:
    Slow.may = asyncio.Event()
    publications = Slow(seen.broker.store)
    feed = ProjectFeed(FeedSettings.of(settings, PROJECT), publications)
    async with session(orders_url) as writer, background(asyncio.create_task(feed.run(), name="feed")):
        await eventually(lambda: feed.state is State.LIVE)
        await asleep(writer)
        await insert(writer, 1)
        await awake(writer)
        Slow.may.set()
        await seen.sees(1)
        await asleep(writer)
        await insert(writer, 2)
        await seen.sees(2)
