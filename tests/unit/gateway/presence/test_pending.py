"""Pending writes: retried until Redis acknowledges them, bounded, and dropped as a whole."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from itertools import count

import pytest

from gateway.presence.pending import Pending
from gateway.presence.timings import PresenceTimings
from realtime.errors import Unavailable
from tests.change_stream import DEADLINE
from tests.expressions import value
from tests.gateway_fixture import eventually, stays

MOST = 5
TIMINGS = PresenceTimings(retry_seconds=0.01, most_pending=MOST, patience_seconds=-1.0)


class Redis:
    """Takes what it is told, or not; may be silent, too."""

    def __init__(self) -> None:
        self.is_away = False
        self.is_silent = False
        self.tries: list[str] = []
        self.has: list[str] = []

    def put(self, name: str) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.tries.append(name)
        if self.is_away:
            future.set_exception(Unavailable("away"))
        elif not self.is_silent:
            self.has.append(name)
            future.set_result(None)
        return future


class Play:
    """A node with pending writes."""

    def __init__(self, timings: PresenceTimings) -> None:
        self.redis = Redis()
        self.incarnations_given_up = 0
        self.pending = Pending(self._give_up, timings)
        self._names = count()

    def _give_up(self) -> None:
        self.incarnations_given_up += 1

    def goes(self, clients: int = 1) -> None:
        for _ in range(clients):
            name = f"gone {next(self._names)}"
            self.pending.add(partial(self.redis.put, name), of_the_gone=True)

    def is_here(self, clients: int = 1) -> None:
        for _ in range(clients):
            self.pending.add(lambda: self.redis.put("here"))


@pytest.fixture
async def play() -> Play:
    return Play(TIMINGS)


async def settles(play: Play) -> None:
    """Wait until nothing is pending any more."""
    await asyncio.wait_for(play.pending.settle(), DEADLINE)


async def stays_unsettled(play: Play) -> None:
    """See that something is pending, or was dropped, through several times in which it is tried again."""
    settling = asyncio.create_task(play.pending.settle(), name="settle")
    try:
        await stays(lambda: not settling.done(), 0.1, pause=0.01)
    finally:
        settling.cancel()
        await asyncio.wait([settling])


async def test_what_redis_did_not_take_is_tried_until_it_does(play):
    play.redis.is_away = True
    play.goes(2)
    await eventually(lambda: len(play.redis.tries) > 6)
    await stays_unsettled(play)
    assert value("realtime_gateway_owed") == 2
    play.redis.is_away = False
    await settles(play)
    assert sorted(play.redis.has) == ["gone 0", "gone 1"]
    assert (value("realtime_gateway_owed"), play.incarnations_given_up) == (0, 0)


@pytest.mark.parametrize("how", ["is_away", "is_silent"])
async def test_too_much_about_the_gone_is_forgotten_and_the_incarnation_with_it(play, how):
    setattr(play.redis, how, True)
    play.goes(MOST)
    assert (play.incarnations_given_up, repr(play.pending)) == (
        0,
        f"<Pending {MOST}, {MOST} of them about the gone>",
    )
    play.goes(1_000)
    assert (play.incarnations_given_up, repr(play.pending)) == (1, "<Pending 0, 0 of them about the gone>")
    await stays_unsettled(play)  # for a goodbye nothing is told
    tries = len(play.redis.tries)
    setattr(play.redis, how, False)
    play.goes(3)
    await stays_unsettled(play)
    assert len(play.redis.tries) == tries, "forgotten until there is another incarnation"
    play.pending.begin_anew()
    await settles(play)
    play.goes(1)
    await settles(play)
    assert play.redis.has == [f"gone {MOST + 1_003}"]


async def test_those_who_are_here_are_told_of_under_the_new_incarnation_however_many(play):
    play.redis.is_away = True
    play.is_here(10 * MOST)
    assert play.incarnations_given_up == 0
    play.goes(MOST + 1)
    assert play.incarnations_given_up == 1
    play.is_here(3)
    play.pending.begin_anew()
    play.redis.is_away = False
    play.is_here(2)
    await settles(play)
    assert play.redis.has == ["here"] * 2


async def test_many_may_go_at_once_where_redis_takes_it():
    play = Play(replace(TIMINGS, patience_seconds=60.0))
    play.redis.is_silent = True
    play.goes(100 * MOST)
    assert play.incarnations_given_up == 0


async def test_whoever_waits_for_something_to_be_put_right_is_told_when_it_is_forgotten(play):
    told = []
    play.redis.is_away = True
    play.pending.add(lambda: play.redis.put("doubt"), lambda: told.append("before"))
    assert told == []
    play.goes(MOST + 1)
    play.pending.add(lambda: play.redis.put("doubt"), lambda: told.append("meanwhile"))
    assert told == ["before", "meanwhile"]
