"""What several queues get of the same batch: each gets all of it, once and in order."""

from __future__ import annotations

import asyncio
import random
import weakref
from typing import Any, cast

import pytest

from gateway.delivery.fanout import Fanout
from gateway.hub.hub import Hub, deliver
from gateway.hub.subscribers import Subscription, subscription
from gateway.hub.topic import Topic
from gateway.wire.batch import Batch
from gateway.wire.frames import PIECE_BYTES
from gateway.wire.native import NativeCodec
from gateway.wire.queue_writer import QueueWriter
from gateway.wire.send_queue import SendQueue
from realtime.channels import Event, parse_channel
from realtime.publications import Publication, change_line, line_prefix
from realtime.settings.config import Limits
from tests.gateway_fixture import eventually
from tests.hub_fixture import NATIVE, USERS

CHANNELS = [parse_channel(name) for name in ("table:users", "table:users:INSERT", "table:public.users")]


def line(size: int) -> bytes:
    data = '"%s"' % ("x" * size)
    return change_line(line_prefix(USERS, Event.INSERT), data, None, "2026-01-01T00:00:00Z", False).encode()


class Transport:
    """Takes everything, or nothing for a while."""

    def __init__(self) -> None:
        self.is_full = self.is_gone = False
        self.written: list[bytes] = []

    def get_write_buffer_size(self) -> int:
        return PIECE_BYTES + 1 if self.is_full else 0

    def is_closing(self) -> bool:
        return self.is_gone

    def write(self, data: bytes) -> None:
        self.written.append(data)


def test_a_batch_is_joined_once() -> None:
    batch = Batch([b"1"], 1)
    batch.add([b"2", b"3"], 2)
    assert (batch.size, batch.joined) == (3, b"123")
    assert batch.joined is batch.joined


def test_a_lone_piece_is_not_copied() -> None:
    piece = b"1" * 1_000
    assert Batch([piece], 1_000).joined is piece


def test_a_sealed_batch_takes_nothing_more() -> None:
    batch = Batch([b"1"], 1)
    batch.is_open = False
    with pytest.raises(AssertionError):
        batch.add([b"2"], 1)


def test_the_pieces_of_who_made_it_stay_as_they_are() -> None:
    pieces = [b"1"]
    Batch(pieces, 1).add([b"2"], 1)
    assert pieces == [b"1"]


async def test_queues_with_the_same_messages_write_the_same_bytes() -> None:
    node = Node()
    for who in "ab":
        node.subscribe(who, CHANNELS[0])
    for _ in range(3):
        node.publish()
    await eventually(lambda: all(one.written for one in node.transports.values()))
    (ann,), (bob,) = (one.written for one in node.transports.values())
    assert ann is bob
    assert ann == node.expected["a"]


class Node:
    """Clients of one topic, and what each must have got."""

    def __init__(self) -> None:
        self.writer = QueueWriter(gather_seconds=0.002)
        self.fanout = Fanout(self.writer.after_write)
        self.topic: Topic[SendQueue] = Hub[SendQueue]().open(("demo", CHANNELS[0].topic))
        self.offset = 0
        self.transports: dict[str, Transport] = {}
        self.queues: dict[str, SendQueue] = {}
        self.expected: dict[str, bytes] = {}

    def queue(self, who: str) -> SendQueue:
        if who not in self.queues:
            transport = self.transports[who] = Transport()
            self.expected[who] = b""
            self.queues[who] = SendQueue(
                cast(Any, transport), who, Limits(slow_consumer_seconds=3_600), self.writer, NativeCodec()
            )
        return self.queues[who]

    def subscribe(self, who: str, channel: Any) -> Subscription[SendQueue]:
        one = subscription(self.queue(who), channel, who, NATIVE)
        self.topic.subscribers.add(one)
        return one

    def publish(self, lines: int = 1, size: int = 10) -> None:
        self.offset += 1
        publication = Publication("e", self.offset, [line(size)] * lines)
        self.offset += lines - 1
        deliveries = deliver(self.topic, publication)
        for delivery in deliveries:
            for queue in delivery.subscribers:
                self.expected[queue.connection_id] += b"".join(delivery.pieces)
        self.fanout.deliver(deliveries)

    def answer(self, who: str, text: bytes) -> None:
        queue = self.queue(who)
        self.expected[who] += text
        queue.send([text])


@pytest.mark.parametrize("seed", range(30))
async def test_each_client_gets_all_of_it_once_and_in_order(seed: int) -> None:
    rng, node = random.Random(seed), Node()
    subscribed: dict[tuple[str, str], Subscription[SendQueue]] = {}
    for number in range(300):
        who, channel = rng.choice("abcdef"), rng.choice(CHANNELS)
        match rng.choice(
            ["publish"] * 6 + ["come", "go", "answer", "fill", "turn", "turn", "write", "gather"]
        ):
            case "publish":
                node.publish(rng.choice([1, 1, 1, 3]), rng.choice([1, 1, 1, 1, PIECE_BYTES // 3]))
            case "come":
                subscribed[who, channel.name] = node.subscribe(who, channel)
            case "go" if (one := subscribed.pop((who, channel.name), None)) is not None:
                node.topic.subscribers.remove(one)
            case "answer":
                node.answer(who, b"<%d>" % number)
            case "fill":
                node.queue(who)
                node.transports[who].is_full = not node.transports[who].is_full
            case "turn":
                await asyncio.sleep(0)
            case "write":
                node.queue(who).write()
            case "gather":  # the next deliveries are gathered, if there are several
                node.writer._gathering.wrote(0.0, 1e12)
    for transport in node.transports.values():
        transport.is_full = False
    await eventually(lambda: not any(one.queued_bytes for one in node.queues.values()))
    for who, transport in node.transports.items():
        assert b"".join(transport.written) == node.expected[who], who
        assert node.queues[who].written_bytes == len(node.expected[who])
        assert not node.queues[who].pieces


async def test_a_client_that_is_gone_takes_nothing_and_the_others_get_all() -> None:
    node = Node()
    for who in "ab":
        node.subscribe(who, CHANNELS[0])
    node.publish()
    node.transports["a"].is_gone = True
    node.queues["a"].discard()
    node.publish()
    await eventually(lambda: not node.queues["a"].queued_bytes and not node.queues["b"].queued_bytes)
    assert node.transports["a"].written == []
    assert b"".join(node.transports["b"].written) == node.expected["b"]


async def test_what_waits_is_counted_once_added_to_a_batch() -> None:
    node = Node()
    node.subscribe("a", CHANNELS[0])
    node.transports["a"].is_full = True
    node.answer("a", b"12345")
    node.publish()
    node.publish()
    queue = node.queues["a"]
    assert queue.queued_bytes == len(node.expected["a"]) == sum(map(len, queue.pieces))
    assert queue.piece_count == len(queue.pieces) == 3


async def test_a_client_that_does_not_read_keeps_its_pieces_and_not_what_others_made_of_them() -> None:
    node = Node()
    for who in "ab":
        node.subscribe(who, CHANNELS[0])
    node.transports["a"].is_full = True
    node.publish()
    node.publish()
    batch = weakref.ref(cast(Any, node.queues["a"]._batch))
    await eventually(lambda: node.transports["b"].written and batch() is None)
    assert b"".join(node.queues["a"].pieces) == node.expected["a"]
