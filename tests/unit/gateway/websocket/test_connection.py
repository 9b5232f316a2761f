"""A client keeps no other waiting, what is said fits Redis, and what is owed is not tried too often."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

from aiohttp import WSMessage, WSMsgType

from gateway.broker import Post
from gateway.presence.connection_log import ConnectionLog
from gateway.presence.pending import Pending
from gateway.presence.timings import PresenceTimings
from gateway.projects.history_quota import HistoryLedger
from gateway.publish.publisher import BroadcastPublisher, PublishBounds
from gateway.websocket.connection import Connection, Serving
from gateway.websocket.turns import SLICE_FRAMES
from gateway.wire.events import Pong
from gateway.wire.native import NativeCodec
from gateway.wire.queue_writer import QueueWriter
from realtime.channels import Channel, parse_channel
from realtime.errors import Unavailable
from realtime.redis.history import History
from realtime.settings.config import Limits
from tests.change_stream import DEADLINE, background
from tests.door_fixture import Play
from tests.gateway_fixture import eventually
from tests.raw_socket import PONG, frame

LIMITS = Limits(max_queue_bytes=65_536, max_history_bytes=0)


class Transport:
    """One whose client reads as much as the test says."""

    def __init__(self) -> None:
        self.waiting = 0
        self.looks = 0

    def get_write_buffer_size(self) -> int:
        self.looks += 1
        return self.waiting

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


class Flood:
    """A client whose frames are all there already."""

    def __init__(self, count: int) -> None:
        self.left = count

    def open(self, on_frames: Callable[[int, int], None]) -> None:
        pass

    async def receive(self) -> WSMessage:
        self.left -= 1
        return WSMessage(WSMsgType.PONG if self.left > 0 else WSMsgType.CLOSED, b"", None)


def connection(flood: Flood, transport: Transport) -> Connection:
    session = SimpleNamespace(connection_id="c", greeting=lambda _: Pong(0), end=list, channels={})
    tenant = SimpleNamespace(limits=LIMITS, project_id="demo")
    subscriptions = SimpleNamespace(carry_out=None)
    writers = SimpleNamespace(publisher=None, presence=None)
    serving = Serving(cast(Any, subscriptions), cast(Any, writers), QueueWriter(), NativeCodec(), 25)
    parts: list[Any] = [flood, transport, tenant, session, serving]
    return Connection(*parts)


async def test_a_client_that_sends_much_at_once_gives_others_their_turn() -> None:
    play, turns = Play().open(), 0
    play.door.feed_data(frame(PONG, b"") * 100 * SLICE_FRAMES)
    while len(play.reader.heard) < 100 * SLICE_FRAMES * len(frame(PONG, b"")):
        for _ in range(SLICE_FRAMES):
            play.door.taken()
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 99


async def test_a_client_that_does_not_read_is_not_read_until_it_does() -> None:
    flood, transport = Flood(1_000), Transport()
    transport.waiting = LIMITS.max_queue_bytes + 1
    task = asyncio.create_task(connection(flood, transport).run(), name="serve")
    for _ in range(1_000):
        await asyncio.sleep(0)
    assert flood.left == 999
    transport.waiting = 0
    await task
    assert flood.left == 0


async def test_a_client_that_does_not_read_costs_its_connection_nothing_meanwhile(monkeypatch) -> None:
    """The pump looks at all who are behind; two thousand tasks that look too are half of a core."""
    flood, transport = Flood(3), Transport()
    transport.waiting = LIMITS.max_queue_bytes + 1
    serving, looks = connection(flood, transport), 0

    def is_behind(_: Connection) -> bool:
        nonlocal looks
        looks += 1
        return transport.waiting > LIMITS.max_queue_bytes

    monkeypatch.setattr(Connection, "_is_behind", property(is_behind))
    task = asyncio.create_task(serving.run(), name="serve")
    await eventually(lambda: transport.looks > 50)
    assert looks == 1
    transport.waiting = 0
    await task


async def test_a_client_that_does_not_read_and_is_closed_is_gone() -> None:
    flood, transport = Flood(3), Transport()
    transport.waiting = LIMITS.max_queue_bytes + 1
    serving = connection(flood, transport)
    task = asyncio.create_task(serving.run(), name="serve")
    await eventually(lambda: transport.looks > 5)
    serving.close(1001)
    await asyncio.wait_for(task, DEADLINE)


class Tenant:
    project_id = "demo"
    limits = LIMITS
    ledger = HistoryLedger()

    def history_of(self, _: Channel) -> History:
        return History(100, 60)


class Broker:
    def __init__(self) -> None:
        self.calls: list[list[Post]] = []

    def posting(self, posts: list[Post]) -> Callable[[], Awaitable[list[int]]]:
        async def send() -> list[int]:
            self.calls.append(posts)
            return [0] * len(posts)

        return send


async def test_many_messages_of_one_moment_are_several_publications_in_order() -> None:
    """One of a topic takes as much as a page of history may, and one call no more than a buffer of Redis."""
    tenant: Any = Tenant()
    broker = Broker()
    broadcasts = BroadcastPublisher(cast(Any, broker), lambda _: True, PublishBounds(post=100, call=250))
    said = [(room(number % 2), b"%03d" % number + b"x" * 40) for number in range(40)]
    async with background(asyncio.create_task(broadcasts.run(), name="publisher")):
        await broadcasts.publish(tenant, *said, (room(9), b"y" * 300))
    for posts in broker.calls:
        sizes = [sum(map(len, post.lines)) for post in posts]
        assert sizes == [300] or (max(sizes) <= 100 and sum(sizes) <= 250)
        assert len({post.topic for post in posts}) == len(posts)
    for number in range(2):
        published = [post for posts in broker.calls for post in posts if post.topic == room(number).topic]
        lines = [line for post in published for line in post.lines]
        assert lines == [line for channel, line in said if channel == room(number)]


def room(number: int) -> Channel:
    return parse_channel(f"room:{number}")


class AwayConnections:
    def __init__(self) -> None:
        self.tries = 0

    async def disconnect(self, departures: list[Any]) -> None:
        self.tries += len(departures)
        raise Unavailable("away")


async def test_the_more_is_owed_the_later_it_is_tried_again() -> None:
    """A node that lost many clients while Redis is away has others to serve."""
    connections = AwayConnections()
    node = SimpleNamespace(incarnation="n-0", earlier=[])
    owed = Pending(cast(Any, None), PresenceTimings(retry_seconds=0, retries_a_second=0.5))
    connection_log = ConnectionLog(cast(Any, connections), cast(Any, node), cast(Any, None), owed)
    async with background(asyncio.create_task(connection_log.run(), name="connection log")):
        for _ in range(20):
            connection_log.depart("demo", cast(Any, None), 1000, None)
        await eventually(lambda: connections.tries == 20)
        for _ in range(500):
            await asyncio.sleep(0)
        assert connections.tries == 20
