"""The subscription of a node, on a Redis that answers when the test lets it: when a topic turns live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from redis.exceptions import MovedError

from gateway.delivery import redis_subscription
from gateway.hub.topic import TopicState
from realtime.errors import Unavailable
from realtime.publications import Position
from realtime.redis.cluster import slot_of
from tests.change_stream import background
from tests.gateway_fixture import eventually
from tests.subscriber_fixture import LOBBY, PROBE, QUICK, ROOM, Play, at, channel_of

MOST = 3  # channels that the subscription asks for at once


@pytest.fixture
async def play() -> AsyncIterator[Play]:
    play = Play(timings=replace(QUICK, catch_up_retry_seconds=0), max_channels=MOST)
    async with background(asyncio.create_task(play.subscriber.run(), name="subscriber")):
        yield play


async def test_a_topic_is_live_when_its_subscription_is_confirmed_and_its_position_read(play):
    joining = await play.join(ROOM)
    await play.is_asked("subscribe")
    assert play.redis.reads == 0
    play.connection.confirm(ROOM)
    topic = await joining
    assert (topic.state, topic.position) == (TopicState.LIVE, at(5))


async def test_a_topic_that_is_opened_again_waits_for_the_last_confirmation(play):
    play.redis.unsubscribes.clear()  # so that what is asked after one is not even sent
    await play.leave(ROOM, await play.join(ROOM))
    joining = await play.join(ROOM)
    await play.is_asked("subscribe", "unsubscribe")
    play.connection.confirm(ROOM)
    await play.settle()
    assert (play.hub.topics[ROOM].state, play.redis.reads) == (TopicState.JOINING, 0)
    play.redis.unsubscribes.set()
    await play.is_asked("subscribe", "unsubscribe", "subscribe")
    play.connection.confirm(ROOM)
    assert (await joining).is_live


@pytest.mark.parametrize("key", [ROOM, LOBBY])
@pytest.mark.parametrize("again_before_it_is_read", [True, False])
async def test_a_catching_up_of_a_closed_topic_does_not_make_the_next_one_live(
    play, key, again_before_it_is_read
):
    play.redis.unsubscribes.clear()
    play.redis.reading.clear()
    joining = await play.join(key)
    await play.is_asked("subscribe", key=key)
    play.connection.confirm(key)
    await eventually(lambda: play.redis.reads == 1)
    await play.leave(key, joining)
    if again_before_it_is_read:
        joining = await play.join(key)
    play.redis.reading.set()
    await play.settle()
    if not again_before_it_is_read:
        joining = await play.join(key)
        await play.settle()
    assert play.hub.topics[key].state is TopicState.JOINING
    play.redis.unsubscribes.set()
    await play.is_asked("subscribe", "unsubscribe", "subscribe", key=key)
    play.connection.confirm(key)
    assert (await joining).is_live


async def test_a_live_topic_whose_subscription_is_confirmed_again_reads_what_it_missed(play):
    joining = await play.join(ROOM)
    await play.is_asked("subscribe")
    play.connection.confirm(ROOM)
    topic = await joining
    play.redis.now = at(7)
    play.connection.confirm(ROOM)
    await eventually(lambda: topic.position == at(7))
    assert topic.is_live


async def test_a_lost_confirmation_is_not_waited_for_on_the_next_connection(play):
    joining = await play.join(ROOM)
    await play.is_asked("subscribe")
    play.connection.break_off()
    await eventually(lambda: len(play.redis.connections) == 2)
    await play.is_asked("subscribe")
    play.connection.confirm(ROOM)
    assert (await joining).is_live


async def test_a_server_is_asked_for_so_many_channels_at_once_as_it_can_answer(play):
    await eventually(lambda: play.redis.connections and play.connection.asked)
    play.redis.pongs.clear()
    for number in range(8):
        await play.join(("demo", f"room:{number}"))
    await eventually(lambda: len(play.connection.asked) >= MOST)
    await play.settle()
    # The probe, the inbox of the node, one that came alone, and a batch.
    assert len(play.connection.asked) <= MOST + 3
    play.redis.pongs.set()
    await eventually(lambda: len(play.connection.asked) == 10)


async def test_a_topic_that_is_opened_between_two_connections_is_asked_for_once(play):
    await eventually(lambda: play.redis.connections and play.connection.asked)
    play.redis.reachable.clear()
    play.connection.break_off()
    await eventually(lambda: len(play.redis.connections) == 2)
    joining = await play.join(ROOM)
    play.redis.reachable.set()
    await play.is_asked("subscribe")
    play.connection.confirm(ROOM)
    assert (await joining).is_live


async def test_a_topic_that_is_opened_while_a_connection_begins_is_asked_for_once(play):
    await eventually(lambda: play.redis.connections and play.connection.asked)
    play.redis.probes.clear()
    play.connection.break_off()
    await eventually(lambda: len(play.redis.connections) == 2)
    await play.settle()
    joining = await play.join(ROOM)
    play.redis.probes.set()
    await play.is_asked("subscribe")
    play.connection.confirm(ROOM)
    assert (await joining).is_live


# A subscription without probes


class Program:
    """What a subscription says, a second apart; the subscriber's clock goes by it."""

    def __init__(self, *says: bytes | None) -> None:
        self._says = says  # channels, over and over; None is silence for as long as it is waited for
        self.now = 1_000.0
        self.said = 0

    def monotonic(self) -> float:
        return self.now

    def __call__(self, timeout: float) -> dict[str, Any] | None:
        channel = self._says[self.said % len(self._says)]
        self.said += 1
        self.now += timeout + 0.001 if channel is None else 1.0
        return {"type": "smessage", "channel": channel, "data": b"e 1\nB1"} if channel else None


async def follow(play: Play, monkeypatch, program: Program) -> None:
    """Let the next connection, which begins the count, follow a program."""
    await eventually(lambda: play.redis.connections and play.connection.asked)
    monkeypatch.setattr(redis_subscription, "time", program)
    play.redis.reachable.clear()
    play.connection.break_off()
    await eventually(lambda: len(play.redis.connections) == 2)
    play.redis.program = program
    play.redis.reachable.set()


@pytest.mark.parametrize("says", [b"other traffic", None])
async def test_a_subscription_on_which_no_probe_comes_back_is_made_anew_whatever_else_comes(
    play, monkeypatch, says
):
    program = Program(says)
    await follow(play, monkeypatch, program)
    await eventually(lambda: len(play.redis.connections) > 2)
    assert program.said <= QUICK.dead_after_seconds + 1


async def test_a_subscription_whose_probes_come_back_stays(play, monkeypatch):
    program = Program(*[b"other traffic"] * 4, PROBE)
    await follow(play, monkeypatch, program)
    await eventually(lambda: program.said > 100)
    assert len(play.redis.connections) == 2
    assert play.subscriber.why_not_ready() is None


@pytest.mark.parametrize("steps", range(10))
async def test_rosters_may_be_doubted_at_any_moment_of_a_connection_that_breaks(play, steps):
    """A node learns of another Redis, and loses its subscription, in the same moment."""
    joining = await play.join(LOBBY)
    await play.is_asked("subscribe", key=LOBBY)
    play.connection.confirm(LOBBY)
    topic = await joining
    play.redis.reachable.clear()
    play.connection.break_off()
    for _ in range(steps):
        await asyncio.sleep(0)
    play.subscriber.read_rosters_again()
    play.redis.reachable.set()
    await eventually(lambda: len(play.redis.connections) == 2)
    await play.is_asked("subscribe", key=LOBBY)
    play.connection.confirm(LOBBY)
    await eventually(lambda: topic.is_live)


def thrown_off(play: Play, key: tuple[str, str]) -> None:
    """The server says that it has the topic's slot no more."""
    play.connection.says({"type": "sunsubscribe", "channel": channel_of(key)})


@pytest.mark.parametrize("was_live", [False, True])
async def test_what_was_read_before_a_topic_was_thrown_off_does_not_make_it_live(play, was_live):
    joining = await play.join(ROOM)
    await play.is_asked("subscribe")
    asked = ["subscribe"]
    if was_live:
        play.connection.confirm(ROOM)
        await joining
        thrown_off(play, ROOM)
        asked += ["subscribe"]
        await play.is_asked(*asked)
    answers = [(asyncio.Event(), at(5)), (asyncio.Event(), at(7))]
    waiting = iter(answers)
    begun = play.redis.reads

    async def position(*_: str) -> Position:
        play.redis.reads += 1
        may_answer, answer = next(waiting)
        await may_answer.wait()
        return answer

    play.redis.position = position
    play.connection.confirm(ROOM)
    await eventually(lambda: play.redis.reads == begun + 1)
    thrown_off(play, ROOM)
    await play.is_asked(*asked, "subscribe")
    play.connection.confirm(ROOM)
    await eventually(lambda: play.redis.reads == begun + 2)
    for may_answer, _ in answers:
        may_answer.set()
        await play.settle()
    topic = play.hub.topics[ROOM]
    assert (topic.state, topic.position) == (TopicState.LIVE, at(7))


async def test_a_topic_that_a_server_refuses_is_asked_for_again_wherever_it_is_believed_to_be(play):
    """MOVED says where it is, and who is asked then may be behind and set that back."""
    await play.join(ROOM)
    await play.is_asked("subscribe")
    slot = slot_of(channel_of(ROOM))
    play.connection.says(MovedError(f"{slot} 127.0.0.1:7001"))
    await play.is_asked("subscribe", "unsubscribe", "subscribe")


async def test_a_topic_that_cannot_be_caught_up_leaves_the_others_alone(play):
    other = ("demo", "room:b")
    joining, joining_other = await play.join(ROOM), await play.join(other)
    fails = asyncio.Event()

    async def position(*key: str) -> Position:
        play.redis.reads += 1
        if key == ROOM and not fails.is_set():
            raise Unavailable("its slot is on the move")
        return at(5)

    play.redis.position = position
    for key in (ROOM, other):
        play.connection.confirm(key)
    await joining_other
    await eventually(lambda: play.redis.reads > 3)
    assert len(play.redis.connections) == 1
    fails.set()
    assert (await joining).is_live
