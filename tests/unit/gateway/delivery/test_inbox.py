"""The inbox of a node: subscribed like a topic, at whichever server has it; it harms no topic."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.exceptions import MovedError

from realtime import names
from realtime.redis.cluster import slot_of
from tests.change_stream import background
from tests.gateway_fixture import eventually
from tests.subscriber_fixture import ROOM, Play

INBOX = names.node_inbox("node").encode()


@pytest.fixture
async def play() -> AsyncIterator[Play]:
    play = Play()
    async with background(asyncio.create_task(play.subscriber.run(), name="subscriber")):
        await eventually(lambda: play.redis.connections and asked(play))
        yield play


def asked(play: Play) -> list[str]:
    return [command for command, channel in play.connection.asked if channel == INBOX]


def says(play: Play, data: bytes, channel: bytes = INBOX) -> None:
    play.connection.says({"type": "smessage", "channel": channel, "data": data})


async def test_what_comes_into_the_inbox_is_taken_and_nothing_else(play):
    taken: list[bytes] = []
    play.subscriber.inbox.take = taken.append
    says(play, b"other", names.node_inbox("other").encode())
    says(play, b"question")
    await eventually(lambda: taken)
    assert (taken, asked(play)) == ([b"question"], ["subscribe"])


async def test_after_a_lost_connection_the_inbox_is_subscribed_again(play):
    play.connection.break_off()
    await eventually(lambda: len(play.redis.connections) == 2 and asked(play) == ["subscribe"])
    taken: list[bytes] = []
    play.subscriber.inbox.take = taken.append
    says(play, b"question")
    await eventually(lambda: taken)


async def test_a_server_that_does_not_have_the_inbox_is_left(play):
    assert play.subscriber.inbox.server is not None
    play.connection.says(MovedError(f"{slot_of(INBOX)} 127.0.0.1:7001"))
    # The only server of this play has everything, so the inbox is subscribed there again.
    await eventually(lambda: asked(play) == ["subscribe", "unsubscribe", "subscribe"])


async def test_a_fault_over_one_message_ends_neither_the_inbox_nor_a_topic(play):
    taken: list[bytes] = []

    def take(data: bytes) -> None:
        if data == b"bad":
            raise ZeroDivisionError
        taken.append(data)

    play.subscriber.inbox.take = take
    joining = await play.join(ROOM)
    await play.is_asked("subscribe")
    play.connection.confirm(ROOM)
    room = await joining
    for data in (b"bad", b"good"):
        says(play, data)
    await eventually(lambda: taken)
    assert (taken, room.is_live, len(play.redis.connections)) == ([b"good"], True, 1)


async def test_an_inbox_is_heard_while_its_subscription_lives(play):
    probe = names.probe("node").encode()
    assert not play.subscriber.inbox.is_heard
    says(play, b"", probe)
    await eventually(lambda: play.subscriber.inbox.is_heard)
    play.redis.reachable.clear()
    play.connection.break_off()
    await eventually(lambda: not play.subscriber.inbox.is_heard)
    play.redis.reachable.set()
