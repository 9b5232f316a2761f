"""When deliveries are gathered, for how long, and who does not wait meanwhile."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import pytest

from gateway.wire.batch import Batch
from gateway.wire.gathering import Gathering
from gateway.wire.native import NativeCodec
from gateway.wire.queue_writer import QueueWriter
from gateway.wire.send_queue import SendQueue
from realtime.settings.config import Limits
from tests.gateway_fixture import eventually

MOST = 0.005
QUEUES = 1_000


def gathering(took: float, most: float = MOST) -> Gathering:
    """After a write that began at 0."""
    one = Gathering(most)
    one.wrote(0.0, took)
    return one


@pytest.mark.parametrize("now", [0.0, 0.001, 0.007, 0.01, 10.0])
def test_a_lone_message_never_waits(now: float) -> None:
    assert gathering(0.007).seconds(QUEUES, QUEUES, now) == 0
    assert gathering(0.007).seconds(QUEUES - 1, QUEUES, now) == 0
    assert gathering(0.007).seconds(0, 0, now) == 0


def test_messages_that_are_closer_together_than_a_write_takes_are_gathered() -> None:
    assert gathering(0.007).seconds(4 * QUEUES, QUEUES, 0.008) == MOST


def test_messages_that_are_further_apart_than_a_write_takes_are_not_gathered() -> None:
    assert gathering(0.007).seconds(2 * QUEUES, QUEUES, 0.014) == 0
    assert gathering(0.007).seconds(2 * QUEUES, QUEUES, 0.0139) == MOST
    assert gathering(0.007).seconds(10 * QUEUES, QUEUES, 1.0) == 0  # a burst after a pause


def test_nothing_waits_longer_than_the_last_write_took() -> None:
    assert gathering(0.002).seconds(4 * QUEUES, QUEUES, 0.003) == pytest.approx(0.002)


def test_nothing_waits_before_anything_was_written() -> None:
    assert Gathering(MOST).seconds(4 * QUEUES, QUEUES, time.monotonic()) == 0


def test_nothing_waits_where_it_is_switched_off() -> None:
    assert gathering(0.007, most=0.0).seconds(4 * QUEUES, QUEUES, 0.008) == 0


def test_where_most_queues_get_one_message_the_mean_counts() -> None:
    assert gathering(0.007).seconds(QUEUES + 1, QUEUES, 0.0071) == 0


# The writer


class Transport:
    def __init__(self) -> None:
        self.written: list[bytes] = []

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.written.append(data)


class Node:
    """A writer with two clients, after a write that takes the node an hour."""

    def __init__(self, most_seconds: float) -> None:
        self.writer = QueueWriter(gather_seconds=most_seconds)
        self.writer._gathering.wrote(time.monotonic(), time.monotonic() + 3_600)
        self.transports = [Transport(), Transport()]
        self.queues = [
            SendQueue(cast(Any, one), "c", Limits(), self.writer, NativeCodec()) for one in self.transports
        ]

    def deliver(self, *texts: bytes) -> None:
        for text in texts:
            batch = Batch([text], len(text))
            for queue in self.queues:
                queue.deliver(batch)

    @property
    def written(self) -> list[list[bytes]]:
        return [one.written for one in self.transports]


async def turns_of_the_loop(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_busy_node_writes_once_what_comes_while_it_gathers() -> None:
    node = Node(most_seconds=0.05)
    node.deliver(b"1", b"2")
    await turns_of_the_loop()
    node.deliver(b"3")
    assert node.written == [[], []]
    await eventually(lambda: any(node.written))
    assert node.written == [[b"123"], [b"123"]]


async def test_a_lone_message_leaves_at_the_end_of_the_turn() -> None:
    node = Node(most_seconds=3_600)
    node.deliver(b"1")
    await turns_of_the_loop(1)
    assert node.written == [[b"1"], [b"1"]]


@pytest.mark.parametrize("when", ["before it gathers", "while it gathers"])
async def test_an_answer_leaves_at_once_behind_what_came_before_it_and_others_wait(when: str) -> None:
    node = Node(most_seconds=3_600)
    node.deliver(b"1", b"2")
    if when == "while it gathers":
        await turns_of_the_loop()
        assert node.written == [[], []]
    node.queues[0].send([b"answer"])
    node.queues[0].send([b"answer"])
    await turns_of_the_loop(1)
    assert node.written == [[b"12answeranswer"], []]
    node.deliver(b"3")
    await turns_of_the_loop()
    assert node.written == [[b"12answeranswer"], []]
    node.writer._end_gathering()
    assert node.written == [[b"12answeranswer", b"3"], [b"123"]]


async def test_what_follows_a_gathered_write_leaves_too() -> None:
    node = Node(most_seconds=0.001)
    for number in range(10):
        node.deliver(b"%d" % number, b"%d" % number)
        await turns_of_the_loop(number)
    await eventually(lambda: all(b"".join(one) == b"00112233445566778899" for one in node.written))


async def test_who_is_told_of_a_write_is_told_after_it() -> None:
    node = Node(most_seconds=0.05)
    node.deliver(b"1", b"2")
    seen: list[Any] = []
    node.writer.after_write(lambda: seen.append([list(one) for one in node.written]))
    await eventually(lambda: seen)
    assert seen == [[[b"12"], [b"12"]]]


async def test_who_is_told_of_a_write_is_told_where_nobody_listens() -> None:
    seen: list[int] = []
    QueueWriter().after_write(lambda: seen.append(1))
    await turns_of_the_loop()
    assert seen == [1]
