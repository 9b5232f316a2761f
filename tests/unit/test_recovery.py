"""Many clients come back to a topic at once: how often history is read, and what each of them gets."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from gateway import recollection, recovery
from gateway.hub import Hub
from gateway.recovery import CALLS_AT_ONCE, Recovery
from realtime.broker import History
from realtime.channels import parse_channel
from realtime.errors import Unavailable
from realtime.publications import Position, Publication, Sender, broadcast_line
from tests.gateway_fixture import eventually
from tests.unit.test_frames import messages

ROOM = parse_channel("room:a")
KEY = ("demo", ROOM.topic)


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
        self.brings_more = False  # than was asked for, as it is read by pages

    async def missed(
        self, project: str, topic: str, since: Position, until: Position
    ) -> list[Publication] | None:
        self.readings.append((since.offset, until.offset))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.open.wait()
            await asyncio.sleep(0)  # as long as a way to Redis takes others may do something
        finally:
            self.at_once -= 1
        if self.error is not None:
            raise self.error
        if since.epoch != until.epoch or since.offset + 1 < self.kept_from:
            return None
        return [
            each
            for each in self.log
            if since.offset < each.first and (self.brings_more or each.first <= until.offset)
        ]

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

    def __init__(self) -> None:
        self.redis = Redis(100)
        self.hub: Hub[Any] = Hub()
        self.topic = self.hub.open(KEY)
        self.hub.caught_up(KEY, at(100), None)
        self.recovery = Recovery(cast(Any, self.redis))
        self.waiting: list[asyncio.Task[list[int] | None]] = []

    def come_back(self, *offsets: int, epoch: str = "e") -> None:
        for offset in offsets:
            self.waiting.append(asyncio.create_task(self._recover(at(offset, epoch)), name=f"since {offset}"))

    async def _recover(self, since: Position) -> list[int] | None:
        pieces = await self.recovery.missed(cast(Any, Tenant()), ROOM, self.topic, since, "me")
        if pieces is None:
            return None
        return [message["payload"] for message in messages(pieces)] if pieces else []

    def publish(self, *publications: Publication) -> None:
        for each in publications:
            self.redis.log.append(each)
            self.hub.received(KEY, each)

    async def all_wait(self) -> None:
        """Until whoever came has got as far as it can, and somebody reads."""
        count = len(self.redis.readings)
        await eventually(lambda: len(self.redis.readings) >= max(count, 1))
        for _ in range(10):
            await asyncio.sleep(0)

    async def outcomes(self) -> list[list[int] | BaseException | None]:
        self.redis.open.set()
        async with asyncio.timeout(45):
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
    assert [type(outcome) for outcome in await play.outcomes()] == [Unavailable] * 3
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
    play.hub.received(KEY, publication(1, "f"))
    assert await play.outcomes() == [None, None]
    assert play.topic.memory is None


async def test_a_resync_while_history_is_read_does_not_recover_what_redis_lost(play):
    play.come_back(98)
    await play.all_wait()
    play.hub.fell_behind(play.hub.topics)
    play.hub.caught_up(KEY, at(90), None)
    assert await play.outcomes() == [None]


async def test_a_lost_subscription_while_history_is_read_asks_redis_again(play):
    play.come_back(50)
    await play.all_wait()
    play.hub.fell_behind(play.hub.topics)
    play.publish(publication(101))
    play.redis.log.insert(0, publication(1))
    play.hub.caught_up(KEY, at(101), [publication(101)])
    assert await play.outcomes() == [after(50, 101)]
    assert play.redis.readings == [(50, 100), (50, 101)]


async def test_who_does_not_fit_reads_alone_and_misses_nothing(play, monkeypatch):
    monkeypatch.setattr(recollection, "TOPIC_BYTES", 5_000)
    play.come_back(0, 1, 95)
    await play.all_wait()
    play.publish(publication(101))
    assert await play.outcomes() == [after(0, 101), after(1, 101), after(95, 101)]


@pytest.mark.parametrize("brings_more", [False, True])
async def test_what_is_published_while_one_reads_alone_follows_it_once(play, monkeypatch, brings_more):
    monkeypatch.setattr(recollection, "TOPIC_BYTES", 0)
    play.redis.open.set()
    play.come_back(0)
    await play.outcomes()
    play.redis.open.clear()
    play.come_back(0)
    play.redis.brings_more = brings_more
    await eventually(lambda: play.redis.at_once == 1)
    play.publish(publication(101))
    play.redis.log.append(publication(102))  # the topic hands it on later
    assert (await play.outcomes())[-1] == after(0, 101)
    assert play.redis.readings[-1] == (0, 100)


async def test_redis_is_asked_by_few_at_once_however_many_come(play, monkeypatch):
    monkeypatch.setattr(recollection, "TOPIC_BYTES", 0)
    play.come_back(99)
    await play.outcomes()
    play.come_back(*range(99))
    assert await play.outcomes() == [after(offset) for offset in (99, *range(99))]
    assert 1 < play.redis.most_at_once <= CALLS_AT_ONCE


async def test_those_ahead_of_this_node_wait_for_it_and_few_of_them_ask(play):
    play.redis.log += [publication(101), publication(102)]
    play.come_back(*[101] * 200)
    await play.all_wait()
    play.hub.received(KEY, publication(101))
    play.hub.received(KEY, publication(102))
    assert await play.outcomes() == [[102]] * 200
    assert play.redis.readings.count((-1, -1)) <= CALLS_AT_ONCE


async def test_what_nobody_uses_is_forgotten_and_read_again(play, monkeypatch):
    monkeypatch.setattr(recovery, "UNUSED_SECONDS", 0.01)
    play.come_back(50)
    await play.outcomes()
    await eventually(lambda: play.topic.memory is None)
    assert repr(play.recovery) == "<Recovery 0 bytes, 0 readings>"
    play.come_back(50)
    assert (await play.outcomes())[-1] == after(50)
    assert len(play.redis.readings) == 2


async def test_what_is_used_all_the_time_is_forgotten_in_the_end(play, monkeypatch):
    always = property(lambda memory: True, lambda memory, value: None)
    monkeypatch.setattr(recollection.Recollection, "is_used", always, raising=False)
    monkeypatch.setattr(recovery, "UNUSED_SECONDS", 0.001)
    play.come_back(50)
    await play.outcomes()
    await eventually(lambda: play.topic.memory is None)


async def test_what_is_being_read_is_not_forgotten(play, monkeypatch):
    monkeypatch.setattr(recovery, "UNUSED_SECONDS", 0.001)
    monkeypatch.setattr(recovery, "LOOKS", 10**9)
    play.come_back(50)
    await eventually(lambda: play.topic.memory is not None and not play.topic.memory.is_used)
    assert await play.outcomes() == [after(50)]
    assert len(play.redis.readings) == 1
