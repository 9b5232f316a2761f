"""One topic's record: what happens to it moves it as a whole, and a stage that fails is told as `resync`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from gateway.hub.subscribers import subscription
from gateway.hub.topic import TopicState
from realtime.channels import TopicKey, parse_channel
from realtime.publications import Publication
from tests.change_stream import background
from tests.gateway_fixture import eventually
from tests.hub_fixture import NATIVE, payloads
from tests.subscriber_fixture import LOBBY, QUICK, ROOM, Play, at, channel_of

DEMO = parse_channel("room:a")


TIMINGS = replace(QUICK, broken_seconds=0)


@pytest.fixture
async def play() -> AsyncIterator[Play]:
    play = Play(timings=TIMINGS)
    async with background(asyncio.create_task(play.subscriber.run(), name="subscriber")):
        yield play


async def live(play: Play, key: TopicKey) -> Any:
    joining = await play.join(key)
    await play.is_asked("subscribe", key=key)
    play.connection.confirm(key)
    return await joining


def says(play: Play, key: TopicKey, data: bytes) -> None:
    play.connection.says({"type": "smessage", "channel": channel_of(key), "data": data})


async def test_rosters_alone_are_read_again_when_they_are_in_doubt(play):
    room, lobby = await live(play, ROOM), await live(play, LOBBY)
    reads = play.redis.reads
    play.subscriber.read_rosters_again()
    assert (room.state, lobby.state) == (TopicState.LIVE, TopicState.BEHIND)
    play.subscriber.read_rosters_again()
    await eventually(lambda: lobby.is_live)
    assert play.redis.reads == reads + 1


async def test_a_message_of_a_topic_that_is_not_open_is_dropped(play):
    room = await live(play, ROOM)
    says(play, ("demo", "room:other"), b'e 6\nB"payload":1')
    says(play, ROOM, b'e 6\nB"payload":1')
    await eventually(lambda: room.position == at(6))
    assert list(play.hub.topics) == [ROOM]


async def test_who_comes_while_a_topic_is_behind_waits_until_it_is_live(play):
    room = await live(play, ROOM)
    play.redis.reading.clear()
    play.redis.now = at(7)
    says(play, ROOM, b'e 7\nB"payload":1')
    await eventually(lambda: room.state is TopicState.BEHIND)
    joining = await play.join(ROOM)
    await play.settle()
    assert not joining.done()
    play.redis.reading.set()
    assert (await joining).position == at(7)


async def test_what_nobody_can_read_is_told_as_resync_to_all(play):
    room = await live(play, ROOM)
    heard = subscribe(play, room)
    says(play, ROOM, b"garbage")
    await eventually(lambda: heard)
    assert (heard, room.is_live) == (["resync e-5"], True)


def subscribe(play: Play, topic: Any) -> list[str]:
    """What a subscriber of the room gets from here on."""
    heard: list[str] = []

    def keep(deliveries: list[Any]) -> None:
        for delivery in deliveries:
            for message in payloads(b"".join(delivery.pieces)):
                heard.append(message.get("id") or f"resync {message['position']}")

    play.deliver = keep
    topic.subscribers.add(subscription("ann", DEMO, "ann", NATIVE))
    return heard


class Rights:
    """A stage that asks somebody else of each publication, and fails if that fails."""

    def __init__(self) -> None:
        self.known: dict[int, bool] = {}
        self.answers: asyncio.Queue[Exception | None] = asyncio.Queue()

    def needs(self, key: TopicKey, publication: Publication) -> bool:
        return publication.last not in self.known

    async def prepare(self, key: TopicKey, publication: Publication) -> None:
        if (error := await self.answers.get()) is not None:
            raise error
        self.known[publication.last] = True


@pytest.fixture
async def staged() -> AsyncIterator[tuple[Play, Rights]]:
    rights = Rights()
    play = Play(rights, timings=TIMINGS)
    async with background(asyncio.create_task(play.subscriber.run(), name="subscriber")):
        yield play, rights


async def test_a_hole_is_filled_in_order_behind_what_waits(staged):
    play, rights = staged
    room = await live(play, ROOM)
    heard = subscribe(play, room)
    says(play, ROOM, b'e 6\nB"payload":1')
    await eventually(lambda: room.ordered == at(6))
    play.redis.now = at(8)
    says(play, ROOM, b'e 8\nB"payload":1')
    await eventually(lambda: room.ordered == at(8) and room.is_live)
    assert (heard, room.position) == ([], at(5))
    for _ in range(3):
        rights.answers.put_nowait(None)
    await eventually(lambda: heard == ["e-6", "e-7", "e-8"])


async def test_a_stage_that_fails_is_told_as_resync_and_the_topic_lives_on(staged):
    play, rights = staged
    room = await live(play, ROOM)
    heard = subscribe(play, room)
    play.redis.now = at(6)
    says(play, ROOM, b'e 6\nB"payload":1')
    rights.answers.put_nowait(ValueError("who may see it is not known"))
    await eventually(lambda: heard)
    says(play, ROOM, b'e 7\nB"payload":1')
    rights.answers.put_nowait(None)
    await eventually(lambda: heard == ["resync e-6", "e-7"])


async def test_a_topic_that_is_closed_delivers_nothing_that_waited(staged):
    play, rights = staged
    joining = await play.join(ROOM)
    await play.is_asked("subscribe")
    play.connection.confirm(ROOM)
    room = await joining
    heard = subscribe(play, room)
    says(play, ROOM, b'e 6\nB"payload":1')
    await eventually(lambda: room.queued_bytes)
    room.subscribers.remove(subscription("ann", DEMO, "ann", NATIVE))
    await play.leave(ROOM, joining)
    rights.answers.put_nowait(None)
    await play.settle()
    assert (heard, room.queued_bytes, play.subscriber.is_open(ROOM)) == ([], 0, False)
