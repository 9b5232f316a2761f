"""What a node holds for clients beside their queues, and what it does when that is more than its budget."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.broker import Post
from gateway.hub.hub import Hub
from gateway.hub.replay_cache import ReplayBudget, ReplayCache
from gateway.hub.subscribers import subscription
from gateway.memory.answers import Answer, Answers
from gateway.memory.guard import Holders, MemoryGuard
from gateway.presence.writer import PresenceWriter
from gateway.projects.history_quota import HistoryLedger
from gateway.publish.publisher import BroadcastPublisher, PublishBounds
from gateway.session.presence import Presence, State
from realtime.channels import Channel, parse_channel
from realtime.errors import Unavailable
from realtime.publications import Position, Publication
from realtime.redis.history import History
from realtime.settings.config import Limits
from tests.change_stream import background
from tests.expressions import value
from tests.gateway_fixture import eventually
from tests.hub_fixture import NATIVE

ROOM = parse_channel("room:a")
KIB = 1024


class Tenant:
    project_id = "demo"
    limits = Limits(max_history_bytes=0)
    ledger = HistoryLedger()
    presence = SimpleNamespace(take=lambda *_: None, release=lambda *_: None)

    def history_of(self, _: Channel) -> History:
        return History(100, 60)


class Broker:
    """Redis, which takes what is said when the test lets it."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.told: list[bytes] = []

    def posting(self, posts: list[Post]) -> Callable[[], Awaitable[list[int]]]:
        async def send() -> list[int]:
            await self.open.wait()
            self.told += [line for post in posts for line in post.lines]
            return [0] * len(posts)

        return send


def publisher_to(broker: Broker, most_bytes: int) -> BroadcastPublisher:
    return BroadcastPublisher(cast(Any, broker), lambda _: True, PublishBounds(waiting=most_bytes))


async def test_what_redis_does_not_have_yet_has_a_bound():
    broker, tenant = Broker(), cast(Any, Tenant())
    publisher = publisher_to(broker, 1_000)
    async with background(asyncio.create_task(publisher.run())):
        saying = [asyncio.create_task(publisher.publish(tenant, (ROOM, b"x" * 300))) for _ in range(3)]
        await eventually(lambda: publisher.waiting_bytes == 900)
        with pytest.raises(Unavailable):
            await publisher.publish(tenant, (ROOM, b"y" * 101))
        later = asyncio.create_task(publisher.publish(tenant, (ROOM, b"z" * 100)))
        broker.open.set()
        await asyncio.gather(*saying, later)
        assert publisher.waiting_bytes == 0
        await publisher.publish(tenant, (ROOM, b"w" * 1_000))
    assert broker.told == [*[b"x" * 300] * 3, b"z" * 100, b"w" * 1_000]


async def test_what_somebody_said_who_is_gone_counts_until_it_is_told():
    broker = Broker()
    publisher = publisher_to(broker, 1_000)
    async with background(asyncio.create_task(publisher.run())):
        saying = asyncio.create_task(publisher.publish(cast(Any, Tenant()), (ROOM, b"x" * 300)))
        await eventually(lambda: publisher.waiting_bytes == 300)
        saying.cancel()
        await asyncio.wait([saying])
        assert publisher.waiting_bytes == 300
        broker.open.set()
        await eventually(lambda: publisher.waiting_bytes == 0)
    assert broker.told == [b"x" * 300]


async def test_nobody_new_is_present_where_states_are_too_much_and_all_may_leave():
    node = SimpleNamespace(incarnation="n-0", earlier=[])
    writer = PresenceWriter(cast(Any, None), cast(Any, node), cast(Any, None), lambda _: True)
    tenant = cast(Any, Tenant())
    presence = Presence("demo", "presence", "c")
    writer.is_full = True
    assert writer.set(tenant, presence) is not None
    presence.state = State(b"{}", None, 0.0, 0.0)
    with pytest.raises(Unavailable):
        writer.set(tenant, presence)
    writer.is_full = False
    assert writer.set(tenant, presence) is not None


class Queue:
    """A socket."""

    def __init__(self, pieces: list[bytes], transport: int) -> None:
        self.pieces = pieces
        self.queued_bytes = sum(map(len, pieces))
        self.transport_bytes = transport
        self.taken_bytes = 0
        self.is_parted = False

    @property
    def piece_count(self) -> int:
        return len(self.pieces)

    def part_slow(self) -> None:
        self.is_parted = True
        self.pieces, self.queued_bytes, self.transport_bytes = [], 0, 0


class Connection:
    """One as the keeper sees it."""

    def __init__(self, pieces: list[bytes], transport: int = 0, presence: int = 0, received: int = 0) -> None:
        self.session = SimpleNamespace(presence_bytes=presence)
        self._received = received
        self.send_queue = Queue(pieces, transport)

    @property
    def own_bytes(self) -> int:
        return self.send_queue.transport_bytes + self._received


class Node:
    def __init__(self, budget: int, *connections: Connection) -> None:
        self.connections = list(connections)
        self.hub: Hub[Any] = Hub()
        self.answers = Answers()
        self.replays = ReplayBudget(10**9)
        self.publisher: Any = SimpleNamespace(waiting_bytes=0)
        self.presence: Any = SimpleNamespace(is_full=False)
        parts: list[Any] = [
            self.connections,
            self.answers,
            self.hub,
            self.replays,
            self.publisher,
            self.presence,
        ]
        self.guard = MemoryGuard(budget, Holders(*parts))

    async def look(self) -> float:
        await self.guard.look()
        return value("realtime_gateway_queue_bytes")

    @property
    def parted(self) -> list[bool]:
        return [one.send_queue.is_parted for one in self.connections]


PIECES = [bytes([number]) * KIB for number in range(100)]


async def test_the_gauges_show_shared_bytes_once_and_the_budget():
    node = Node(10**9, Connection(PIECES), Connection(PIECES[:50], transport=5 * KIB))
    assert 105 * KIB <= await node.look() < 120 * KIB
    assert value("realtime_gateway_largest_queue_bytes") == 100 * KIB
    assert value("realtime_gateway_queue_budget_bytes") == 10**9


async def test_over_the_budget_those_furthest_behind_go_at_the_second_look():
    node = Node(60 * KIB, *(Connection([], transport=size * KIB) for size in (10, 50, 20, 5)))
    await node.look()
    assert node.parted == [False] * 4
    await node.look()
    assert node.parted == [False, True, False, False]
    assert await node.look() < 60 * KIB


async def test_what_can_be_read_again_goes_before_any_client():
    node = Node(100 * KIB, Connection([], transport=50 * KIB))
    cache = ReplayCache(Position("e", 0), 10**6, node.replays)
    cache.append(Publication("e", 1, [b"x" * 80 * KIB]))
    topic = node.hub.open(("demo", "room:a"))
    for offset, size in [(1, 80 * KIB), (2, 1)]:
        topic.received(Publication("e", offset, [b"x" * size]))
    assert node.hub.held_bytes > 80 * KIB
    for _ in range(3):
        await node.look()
    assert (node.parted, node.replays.used, len(topic.held)) == ([False], 0, 1)
    assert node.hub.held_bytes < KIB


async def test_history_that_clients_wait_for_counts_once_with_their_queues():
    node = Node(10**9)
    cache = ReplayCache(Position("e", 0), 10**6, node.replays)
    cache.append(Publication("e", 1, [b'B"payload":"%b"' % (b"x" * KIB)] * 300))
    pieces, _ = cache.slice(subscription(None, ROOM, "", NATIVE), 0)
    alone = await node.look()
    node.connections += [Connection(pieces) for _ in range(10)]
    assert alone <= await node.look() < alone + 70 * KIB  # the cut piece, and places in queues


async def test_what_clients_said_and_are_present_with_counts():
    node = Node(100 * KIB, Connection([], presence=20 * KIB), Connection([], presence=4 * KIB, received=KIB))
    node.publisher.waiting_bytes = 7 * KIB
    assert await node.look() == 32 * KIB
    assert node.presence.is_full is False
    node.connections.append(Connection([], presence=2 * KIB))
    await node.look()
    assert node.presence.is_full is True


async def test_who_is_present_counts_once_a_topic_and_drives_nobody_out_of_the_last_quarter():
    node = Node(100 * KIB, Connection([], transport=20 * KIB), Connection([], transport=10 * KIB))
    node.hub.open(("demo", "room:a"))
    roster = node.hub.open(("demo", "presence")).roster
    assert roster is not None
    roster.replace({b"n-0/%d" % number: b"x" * KIB for number in range(50)})
    assert await node.look() == 80 * KIB
    roster.apply([b"Jn-0/more " + b"x" * 450 * KIB])
    for _ in range(3):
        await node.look()
    assert node.parted == [True, False]  # of what is not in the roster 25 KiB may stay
    assert await node.look() == 510 * KIB


class Plug:
    """The transport of a REST client that reads as much as the test says."""

    def __init__(self) -> None:
        self.waiting = 0
        self.is_cut = False

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def abort(self) -> None:
        self.is_cut = True


def answer_of(node: Node, body: bytes, sent: int, waiting: int) -> Plug:
    plug = Plug()
    plug.waiting = waiting
    answer = Answer(cast(Any, plug), body)
    answer.sent_bytes = sent
    node.answers._answers.add(answer)
    return plug


async def test_answers_with_one_body_count_once_and_what_is_being_built_counts():
    node, body = Node(10**9), b"x" * 1_000 * KIB
    for _ in range(20):
        answer_of(node, body, sent=64 * KIB, waiting=KIB)
    assert 1_020 * KIB <= await node.look() < 1_030 * KIB
    with node.answers.building(300 * KIB), node.answers.building(300 * KIB):
        assert 1_620 * KIB <= await node.look() < 1_630 * KIB
    assert await node.look() < 1_030 * KIB


async def test_a_large_answer_that_nobody_reads_goes_at_the_first_look():
    node = Node(3_000 * KIB, Connection([], transport=2_000 * KIB))
    small = answer_of(node, b"x" * 900 * KIB, sent=0, waiting=0)
    large = answer_of(node, b"x" * 1_100 * KIB, sent=64 * KIB, waiting=64 * KIB)
    await node.look()
    assert (node.parted, small.is_cut, large.is_cut) == ([False], False, True)


async def test_a_count_of_very_many_gives_others_their_turn():
    node = Node(10**9, *(Connection(PIECES) for _ in range(2_000)))
    turns = 0
    looking = asyncio.create_task(node.look())
    while not looking.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 20
