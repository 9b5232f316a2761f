"""Many clients come back to a topic at once: how often history is read, and what each of them gets."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from gateway.delivery.recovery import CALLS_AT_ONCE, Recovery
from gateway.delivery.stages import Stages
from gateway.delivery.timings import DEFAULTS, DeliveryTimings
from gateway.hub.hub import Hub
from gateway.hub.replay_cache import ReplayBudget
from gateway.hub.subscribers import subscription
from realtime.channels import parse_channel
from realtime.errors import Unavailable
from realtime.publications import Position, Publication, Sender, broadcast_line
from realtime.redis.history import History
from tests.change_stream import DEADLINE
from tests.gateway_fixture import eventually, stays
from tests.hub_fixture import NATIVE, delivered
from tests.unit.gateway.wire.test_frames import messages

ROOM = parse_channel("room:a")
KEY = ("demo", ROOM.topic)
ME = subscription("me", ROOM, "me", NATIVE)


def at(offset: int, epoch: str = "e") -> Position:
    return Position(epoch, offset)


def publication(offset: int, epoch: str = "e") -> Publication:
    line = broadcast_line(b"%d" % offset, Sender(None, None), "2024", to_self=True)
    return Publication(epoch, offset, [line])


class Redis:
    """History as the broker tells it, when the test lets it."""

    def __init__(self, last: int) -> None:
        self.log = [publication(offset) for offset in range(1, last + 1)]
        self.kept_from = 1
        self.readings: list[tuple[int, int]] = []  # since and until of each
        self.at_once = 0  # readings under way
        self.most_at_once = 0
        self.open = asyncio.Event()
        self.error: Unavailable | None = None
        self.page_size = 1_000  # publications
        self.most_readings = 1_000  # after which history is gone

    async def page(self, project: str, topic: str, since: Position, until: int) -> list[Publication] | None:
        self.readings.append((since.offset, until))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.open.wait()
            await asyncio.sleep(0)  # as long as a way to Redis takes others may do something
        finally:
            self.at_once -= 1
        if self.error is not None:
            raise self.error
        if since.offset + 1 < self.kept_from or len(self.readings) > self.most_readings:
            return None
        wanted = [each for each in self.log if since.offset < each.first]
        return wanted[: self.page_size] or None

    async def position(self, project: str, topic: str) -> Position:
        self.readings.append((-1, -1))
        await self.open.wait()
        return at(self.log[-1].last)


class Tenant:
    project_id = "demo"

    def history_of(self, channel: object) -> History:
        return History(1_000, 1_000)


class Play:
    """A live topic at e-100, and clients that come back to it."""

    def __init__(self, timings: DeliveryTimings = DEFAULTS) -> None:
        self.redis = Redis(100)
        self.hub: Hub[Any] = Hub()
        self.topic = self.hub.open(KEY)
        self.topic.caught_up(at(100))
        self.budget = ReplayBudget(10**9)
        self.recovery = Recovery(cast(Any, self.redis), self.budget, Stages(), timings)
        self.waiting: list[asyncio.Task[list[int] | None]] = []

    def come_back(self, *offsets: int, epoch: str = "e") -> None:
        for offset in offsets:
            self.waiting.append(asyncio.create_task(self._recover(at(offset, epoch)), name=f"since {offset}"))

    async def _recover(self, since: Position) -> list[int] | None:
        """What a client gets that always reads, or None; -1 where history has gone in the middle."""
        tenant: Any = Tenant()
        if not await self.recovery.begin(tenant, ROOM, self.topic, since):
            return None
        heard: list[int] = []
        while since != self.topic.position:
            assert self.topic.replay_cache is not None
            pieces, reached = self.topic.replay_cache.slice(ME, since.offset)
            heard += [message["payload"] for message in messages(pieces)]
            since = at(reached, since.epoch)
            if not await self.recovery.find(tenant, ROOM, self.topic, since):
                return [*heard, -1]
        return heard

    def another_topic(self, name: str) -> None:
        """Somebody comes back to another channel that has the same history."""
        key = ("demo", name)
        topic = self.hub.open(key)
        topic.caught_up(at(100))

        async def recover() -> list[int]:
            channel, tenant = parse_channel(name), cast(Any, Tenant())
            assert await self.recovery.begin(tenant, channel, topic, at(7))
            assert topic.replay_cache is not None
            pieces, reached = topic.replay_cache.slice(subscription("me", channel, "me", NATIVE), 7)
            assert reached == 100
            return [message["payload"] for message in messages(pieces)]

        self.waiting.append(asyncio.create_task(recover(), name=name))

    def publish(self, *publications: Publication) -> None:
        for each in publications:
            self.redis.log.append(each)
            self.take_in(each)

    def take_in(self, publication: Publication) -> None:
        delivered(self.topic, self.topic.received(publication))

    async def all_wait(self) -> None:
        """Until whoever came has got as far as it can, and somebody reads."""
        count = len(self.redis.readings)
        await eventually(lambda: len(self.redis.readings) >= max(count, 1))
        for _ in range(10):
            await asyncio.sleep(0)

    async def outcomes(self) -> list[list[int] | BaseException | None]:
        self.redis.open.set()
        async with asyncio.timeout(DEADLINE):
            return await asyncio.gather(*self.waiting, return_exceptions=True)


@pytest.fixture
async def play() -> Play:
    return Play()


def after(offset: int, last: int = 100) -> list[int]:
    return list(range(offset + 1, last + 1))


async def test_all_who_come_at_once_are_served_by_one_reading_more_than_the_first(play):
    offsets = [50, *range(10, 100), *[30] * 200]
    play.come_back(*offsets)
    await play.all_wait()
    assert await play.outcomes() == [after(offset) for offset in offsets]
    assert play.redis.readings == [(50, 100), (10, 50)]


async def test_who_comes_later_is_served_from_memory(play):
    play.come_back(50)
    await play.outcomes()
    play.publish(publication(101), publication(102))
    play.come_back(50, 60, 101)
    assert (await play.outcomes())[1:] == [after(50, 102), after(60, 102), [102]]
    assert len(play.redis.readings) == 1


async def test_what_is_published_while_history_is_read_follows_it(play):
    play.come_back(98, 97)
    await play.all_wait()
    play.publish(publication(101), publication(102))
    assert await play.outcomes() == [after(98, 102), after(97, 102)]


async def test_who_missed_nothing_reads_nothing(play):
    play.come_back(100)
    assert await play.outcomes() == [[]]
    assert play.redis.readings == []


async def test_another_epoch_does_not_recover_and_reads_nothing(play):
    play.come_back(50, epoch="f")
    assert await play.outcomes() == [None]
    assert play.redis.readings == []


async def test_the_end_of_the_first_reader_is_not_the_end_of_the_others(play):
    play.come_back(50, 60, 40)
    await play.all_wait()
    play.waiting[0].cancel()
    first, *others = await play.outcomes()
    assert isinstance(first, asyncio.CancelledError)
    assert others == [after(60), after(40)]


async def test_the_end_of_one_who_waits_is_nothing_to_the_others(play):
    play.come_back(50, 60, 40)
    await play.all_wait()
    play.waiting[1].cancel()
    first, second, third = await play.outcomes()
    assert isinstance(second, asyncio.CancelledError)
    assert (first, third) == (after(50), after(40))


async def test_an_error_of_redis_reaches_all_who_wait_and_the_next_may_try_again(play):
    play.redis.error = Unavailable("Redis cannot be reached now")
    play.come_back(50, 60, 40)
    await play.all_wait()
    outcomes = await play.outcomes()
    assert [outcome.message for outcome in outcomes] == ["Redis cannot be reached now"] * 3
    assert len(play.redis.readings) == 1
    play.redis.error = None
    play.come_back(50)
    assert (await play.outcomes())[-1] == after(50)


async def test_history_that_does_not_reach_loses_those_alone_who_need_it(play):
    play.redis.kept_from = 61
    play.come_back(*range(100))
    await play.all_wait()
    assert await play.outcomes() == [None if offset < 60 else after(offset) for offset in range(100)]
    assert len(play.redis.readings) < 12


async def test_a_new_epoch_while_history_is_read_does_not_recover(play):
    play.come_back(50, 40)
    await play.all_wait()
    play.take_in(publication(1, "f"))
    assert await play.outcomes() == [None, None]
    assert play.topic.replay_cache is None


async def test_a_resync_while_history_is_read_does_not_recover_what_redis_lost(play):
    play.come_back(98)
    await play.all_wait()
    play.topic.lose()
    delivered(play.topic, play.topic.caught_up(at(90), is_lost=True))
    assert await play.outcomes() == [None]


async def test_a_lost_subscription_while_history_is_read_asks_redis_again(play):
    play.come_back(50)
    await play.all_wait()
    play.topic.lose()
    play.publish(publication(101))
    play.redis.log.insert(0, publication(1))
    delivered(play.topic, play.topic.missed([publication(101)]))
    delivered(play.topic, play.topic.caught_up(at(101)))
    assert await play.outcomes() == [after(50, 101)]
    assert play.redis.readings == [(50, 100), (50, 101)]


async def test_what_does_not_fit_is_read_in_pages_as_it_is_needed(play):
    play.redis.page_size, play.budget.most_bytes = 7, 600
    play.redis.open.set()
    play.come_back(0, 1, 95)
    assert await play.outcomes() == [after(0), after(1), after(95)]
    play.publish(publication(101))
    play.come_back(3)
    assert (await play.outcomes())[-1] == after(3, 101)
    assert play.budget.used <= 600 + 7 * 300


async def test_a_page_is_read_once_for_all_who_read_on_at_the_same_pace(play):
    play.redis.page_size = 10
    play.come_back(*[0] * 100)
    assert await play.outcomes() == [after(0)] * 100
    assert play.redis.readings == [(10 * n, 100) for n in range(10)]


async def test_history_that_goes_while_a_client_reads_is_found_lost(play):
    play.redis.page_size, play.redis.most_readings = 10, 3
    play.come_back(0)
    assert await play.outcomes() == [[*after(0, 30), -1]]


async def test_redis_is_asked_by_few_at_once_however_many_topics_come(play):
    play.come_back(*range(99))
    for number in range(3 * CALLS_AT_ONCE):
        play.another_topic(f"room:{number}")
    await play.all_wait()
    outcomes = await play.outcomes()
    assert outcomes == [*[after(offset) for offset in range(99)], *[after(7)] * 3 * CALLS_AT_ONCE]
    assert 1 < play.redis.most_at_once <= CALLS_AT_ONCE


async def test_those_ahead_of_this_node_wait_for_it_and_few_of_them_ask(play):
    play.redis.log += [publication(101), publication(102)]
    play.come_back(*[101] * 200)
    await play.all_wait()
    play.take_in(publication(101))
    play.take_in(publication(102))
    assert await play.outcomes() == [[102]] * 200
    assert play.redis.readings.count((-1, -1)) <= CALLS_AT_ONCE


async def test_what_nobody_uses_is_forgotten_and_read_again():
    play = Play(DeliveryTimings(unused_seconds=0.01))
    play.come_back(50)
    await play.outcomes()
    await eventually(lambda: play.topic.replay_cache is None)
    assert repr(play.recovery) == "<Recovery 0 bytes, 0 readings>"
    play.come_back(50)
    assert (await play.outcomes())[-1] == after(50)
    assert len(play.redis.readings) == 2


async def test_what_is_used_all_the_time_is_forgotten_in_the_end():
    """Somebody reads it in every turn of the loop, so that each look finds it used."""
    timings = DeliveryTimings(unused_seconds=0.005)
    play = Play(timings)
    clock = asyncio.get_running_loop()
    began = clock.time()
    play.come_back(50)
    await play.outcomes()
    async with asyncio.timeout(DEADLINE):
        while play.topic.replay_cache is not None:
            play.topic.replay_cache.slice(ME, 50)
            await asyncio.sleep(0)
    assert clock.time() - began > (timings.looks - 1) * timings.unused_seconds


async def test_what_is_being_read_is_not_forgotten():
    play = Play(DeliveryTimings(unused_seconds=0.001, looks=10**9))
    play.come_back(50)
    await eventually(lambda: play.topic.replay_cache is not None and not play.topic.replay_cache.is_used)
    cache = play.topic.replay_cache
    await stays(lambda: play.topic.replay_cache is cache, 0.1, pause=0.01)  # through many looks
    assert await play.outcomes() == [after(50)]
    assert len(play.redis.readings) == 1
