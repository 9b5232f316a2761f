"""The doorbell: no ring while it is silenced, and never a change that only the slow poll would find.

Long by the stress test: REALTIME_STRESS_ROUNDS makes it longer, REALTIME_STRESS_SEED another one.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from notifier.feed.doorbell import Doorbell, listening
from notifier.feed.feed_settings import FeedSettings
from notifier.feed.follower import LINGER_SECONDS, Follower
from notifier.feed.pace import DEFAULT_PACE, Look, Pace, PaceBounds
from notifier.feed.publication_store import PublicationStore
from notifier.feed.publisher import Publisher
from notifier.feed.timings import FeedTimings
from notifier.project import ProjectFeed, State
from notifier.sessions import connect, query
from realtime.redis.history import History
from tests.change_stream import DEADLINE
from tests.gateway_fixture import eventually
from tests.notifier_fixture import (
    HOUR,
    PROJECT,
    Witness,
    asleep,
    awake,
    enable,
    insert,
    late_changes,
    lead,
    project_at,
    session,
    settings_at,
    witness,
)
from tests.servers import fresh_database

SILENT_UNTIL = "select last_value from realtime.silent_until"
HISTORY = History(2_000_000, 3_600)
ROUNDS = int(os.environ.get("REALTIME_STRESS_ROUNDS", "40"))
SEED = int(os.environ.get("REALTIME_STRESS_SEED", "1"))
FAR_BELOW_AN_HOUR = 45.0  # seconds in which the changes of a round have to be there

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


@asynccontextmanager
async def running(feed: ProjectFeed) -> AsyncIterator[None]:
    task = asyncio.create_task(feed.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest_asyncio.fixture
async def seen(redis_url: str) -> AsyncIterator[Witness]:
    async with witness(settings_at(redis_url)) as seen:
        yield seen


async def commit_when_the_bell_is_given_back(
    kind: type[HeldSilent], poll: float, seen: Witness, url: str
) -> None:
    """A writer finds the bell silenced and commits when the notifier waits for rings."""
    feed = Held(FeedSettings(PROJECT, project_at(url), HISTORY, poll), seen.publications)
    feed.kind, feed.go_on = kind, asyncio.Event()
    async with session(url) as slow, session(url) as other, running(feed):
        await awake(other)
        async with slow.transaction():
            await insert(slow, 1)
            feed.go_on.set()
            await asleep(other)
        await seen.sees(1)


async def test_who_found_the_bell_silenced_is_seen_without_the_poll(seen: Witness, orders_url: str) -> None:
    before = late_changes()
    await commit_when_the_bell_is_given_back(HeldSilent, HOUR, seen, orders_url)
    assert late_changes() == before


async def test_without_a_barrier_only_the_poll_sees_it(seen: Witness, orders_url: str) -> None:
    before = late_changes()
    await commit_when_the_bell_is_given_back(Careless, 0.5, seen, orders_url)
    await eventually(lambda: late_changes() == before + 1)


async def test_who_found_the_queue_full_is_seen_without_the_poll_when_it_has_room_again(
    seen: Witness, orders_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that may not ring for another reason stands for one that found the queue full."""
    answers = []
    has_room = asyncio.Event()

    async def can_be_rung(doorbell: Doorbell) -> bool:
        answers.append(has_room.is_set())
        return answers[-1]

    monkeypatch.setattr(Doorbell, "can_be_rung", can_be_rung)
    before = late_changes()
    feed = ProjectFeed(FeedSettings(PROJECT, project_at(orders_url), HISTORY, HOUR), seen.publications)
    async with session(orders_url) as slow, session(orders_url) as other, running(feed):
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


async def test_no_writer_rings_while_redis_takes_long(seen: Witness, orders_url: str) -> None:
    Slow.may = asyncio.Event()
    publications = Slow(seen.broker.store)
    feed = ProjectFeed(FeedSettings(PROJECT, project_at(orders_url), HISTORY, HOUR), publications)
    async with session(orders_url) as writer, running(feed):
        await eventually(lambda: feed.state is State.LIVE)
        await asleep(writer)
        await insert(writer, 1)
        await awake(writer)
        Slow.may.set()
        await seen.sees(1)
        await asleep(writer)
        await insert(writer, 2)
        await seen.sees(2)


@dataclass
class Shop:
    """One database under stress: what was committed must be seen, in every round anew."""

    url: str
    seen: Witness
    dice: random.Random
    committed: list[int] = field(default_factory=list)
    row_id: int = 0

    async def round(self) -> None:
        writers = [self.write() for _ in range(self.dice.randint(1, 4))]
        await asyncio.gather(*writers)
        await self.seen.sees(len(self.committed), deadline=FAR_BELOW_AN_HOUR)
        await self.pause()

    async def write(self) -> None:
        """One to three transactions with pauses around the linger, some undone, in whole or in part."""
        async with session(self.url) as connection:
            for _ in range(self.dice.randint(1, 3)):
                await self.pause()
                ids: list[int] = []
                transaction = connection.transaction()
                await transaction.start()
                for _ in range(self.dice.choice((1, 1, 1, 2, 3))):
                    ids += await self.statement(connection)
                    await self.pause()
                if self.dice.random() < 0.2:
                    await transaction.rollback()
                else:
                    await transaction.commit()
                    self.committed += ids

    async def statement(self, connection: Any) -> list[int]:
        self.row_id += 1
        row_id = self.row_id
        savepoint = connection.transaction()
        await savepoint.start()
        await insert(connection, row_id)
        if self.dice.random() < 0.15:
            await savepoint.rollback()
            return []
        await savepoint.commit()
        return [row_id]

    async def pause(self) -> None:
        longest = self.dice.choice((0, 0.005, LINGER_SECONDS, 2 * LINGER_SECONDS))
        await asyncio.sleep(self.dice.uniform(longest / 2, longest))


class Counted(Pace):
    """Counts the looks in each mode, and how often the mode changed."""

    def __init__(self, bounds: PaceBounds) -> None:
        super().__init__(bounds)
        self.looks = Counter[str]()
        self.turns = 0

    def note(self, now: float, look: Look) -> None:
        was_silent = self.is_silent
        self.looks["silent" if was_silent else "rung"] += 1
        super().note(now, look)
        self.turns += was_silent != self.is_silent


class Fickle(Counted):
    """Changes the mode at random."""

    dice = random.Random(SEED)

    def note(self, now: float, look: Look) -> None:
        super().note(now, look)
        is_silent = self.dice.random() < 0.3
        self.turns += is_silent != self.is_silent
        self.is_silent = is_silent


class Watched(ProjectFeed):
    """A feed with a pace of another kind."""

    pace: Counted

    def _follower(self, publisher: Publisher, doorbell: Doorbell) -> Follower:
        follower = super()._follower(publisher, doorbell)
        follower.pace = self.pace
        return follower


# By mode: the pace, and what shows that the stress was one of this mode.
PACES: dict[str, tuple[Callable[[], Counted], Callable[[Counted], bool]]] = {
    "rung": (
        lambda: Counted(PaceBounds(most_rings=1e9, most_share=1e9, few_changes=1e9, small_share=1e9)),
        lambda pace: pace.turns == 1 and pace.looks["rung"] > ROUNDS,
    ),
    "silent": (
        lambda: Counted(PaceBounds(few_changes=-1.0)),
        lambda pace: pace.turns == 0 and pace.looks["silent"] > ROUNDS,
    ),
    "silent after each change": (
        lambda: Counted(PaceBounds(most_rings=1.0, window=LINGER_SECONDS)),
        lambda pace: pace.turns > ROUNDS,
    ),
    "either, at random": (
        lambda: Fickle(DEFAULT_PACE),
        lambda pace: pace.turns > ROUNDS and min(pace.looks.values()) > ROUNDS // 2,
    ),
}


async def stress(mode: str, postgres_url: str, seen: Witness, seed: int) -> None:
    async with fresh_database(postgres_url) as url:
        await enable(url)
        mine = Witness(seen.broker, f"stress-{seed}")
        feed = Watched(FeedSettings(mine.project, project_at(url), HISTORY, HOUR), mine.publications)
        make, has_shown = PACES[mode]
        feed.pace = make()
        async with running(feed):
            shop = Shop(url, mine, random.Random(seed))
            for _ in range(ROUNDS):
                await shop.round()
            assert sorted(await mine.ids()) == sorted(shop.committed)
        assert late_changes(mine.project) == 0
        assert has_shown(feed.pace), (mode, feed.pace.looks, feed.pace.turns)


@pytest.mark.timeout(60 + 3 * ROUNDS)
async def test_no_change_is_late_in_any_mode_whenever_writers_come_and_go(
    postgres_url: str, seen: Witness
) -> None:
    async with asyncio.TaskGroup() as tasks:
        for seed, mode in enumerate(PACES, SEED):
            tasks.create_task(stress(mode, postgres_url, seen, seed))
