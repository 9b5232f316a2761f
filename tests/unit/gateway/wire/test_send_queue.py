"""Whose turn it is to send a slice to a socket, when a client is slow, and how often the pump looks."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import pytest
from structlog.contextvars import bound_contextvars, get_contextvars

from gateway.wire import queue_writer
from gateway.wire.frames import PIECE_BYTES
from gateway.wire.native import NativeCodec
from gateway.wire.queue_writer import QueueWriter
from gateway.wire.send_queue import SendQueue
from realtime.settings.config import Limits
from tests.change_stream import DEADLINE
from tests.gateway_fixture import eventually

LIMITS = Limits(max_queue_bytes=10_000, slow_consumer_seconds=5)


class Transport:
    """One whose client takes what the test says."""

    def __init__(self) -> None:
        self.waiting = 0
        self.closing = False

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        self.waiting += len(data)

    def abort(self) -> None:
        self.closing = True

    close = abort


class Client:
    def __init__(self, limits: Limits = LIMITS) -> None:
        self.transport = Transport()
        self.pump = QueueWriter()
        self.socket = SendQueue(cast(Any, self.transport), "c", limits, self.pump, NativeCodec())
        self.turns: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    def wait(self, name: str) -> None:
        async def take_turn() -> None:
            await self.socket.room()
            self.turns.append(name)
            self.socket.send([b"x" * (PIECE_BYTES + 1)])

        self.tasks.append(asyncio.create_task(take_turn(), name=name))

    async def read(self) -> None:
        """Take what was sent, once it is on its way."""
        await eventually(lambda: self.transport.waiting and not self.socket.queued_bytes)
        self.transport.waiting = 0


@pytest.fixture
async def client() -> Client:
    return Client()


async def turns_of_the_loop(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_there_is_room_at_once_where_nothing_waits(client):
    client.wait("a")
    await turns_of_the_loop()
    assert client.turns == ["a"]


async def test_those_who_wait_get_one_turn_each_time_that_the_client_has_read(client):
    for name in "abc":
        client.wait(name)
    await turns_of_the_loop()
    assert client.turns == ["a"]
    await client.read()
    await eventually(lambda: client.turns == ["a", "b"])
    client.wait("d")
    await client.read()
    await eventually(lambda: client.turns == ["a", "b", "c"])
    await client.read()
    await eventually(lambda: client.turns == ["a", "b", "c", "d"])


async def test_who_gives_up_lets_the_next_have_its_turn(client):
    """Wait until the first and the third had their turns."""
    for name in "abc":
        client.wait(name)
    await turns_of_the_loop()
    client.tasks[1].cancel()
    await client.read()
    await eventually(lambda: client.turns == ["a", "c"])


async def test_who_gives_up_with_its_turn_in_hand_does_no_harm(client):
    """Wait until the first and the third had their turns."""
    for name in "abc":
        client.wait(name)
    await turns_of_the_loop()
    await client.read()
    client.socket.write()
    client.socket.let_next()
    client.tasks[1].cancel()
    await eventually(lambda: client.turns == ["a", "c"])


async def test_nobody_waits_for_a_socket_that_is_closed(client):
    """Wait until all who waited go on, and who comes late."""
    for name in "abc":
        client.wait(name)
    await turns_of_the_loop()
    client.transport.closing = True
    async with asyncio.timeout(45):
        await asyncio.gather(*client.tasks)
    client.wait("late")
    await asyncio.wait_for(client.tasks[-1], 45)


# Who is slow


def late(client: Client, *looks: float) -> list[bool]:
    return [client.socket.is_too_slow(now) for now in looks]


async def test_what_is_left_of_a_replay_waits_like_what_is_here(client):
    client.socket.replay_bytes = lambda: 9_000
    client.transport.waiting = 1_000
    assert late(client, 0.0, 100.0) == [False, False]
    client.transport.waiting = 1_001
    assert late(client, 100.0, 104.9, 105.0) == [False, False, True]


async def test_who_takes_as_much_as_the_bound_in_time_is_not_slow(client):
    client.transport.waiting = 20_000
    for second in range(40):
        client.socket.written_bytes += 2_500
        assert not client.socket.is_too_slow(float(second))
    assert late(client, 60.0) == [True]


async def test_the_time_in_which_a_client_had_taken_all_is_not_its_own(client):
    client.transport.waiting = 20_000
    assert late(client, 0.0, 4.0) == [False, False]
    client.socket.rest(4.0)
    assert late(client, 100.0, 100.9) == [False, False]
    client.socket.rest(100.9)
    assert late(client, 200.0, 200.1) == [False, True]


async def test_looking_takes_no_more_than_its_share_of_the_time(client, monkeypatch):
    now = 0.0
    delays: list[float] = []
    monkeypatch.setattr(time, "thread_time", lambda: now)
    client.transport.waiting = 10**6
    client.socket.send([b"x"])

    def slow_look(_: float) -> bool:
        nonlocal now
        now += 0.1
        return False

    client.socket.is_too_slow = slow_look
    client.pump.watch(client.socket)
    monkeypatch.setattr(
        asyncio.get_running_loop().__class__, "call_later", lambda self, delay, *_, **__: delays.append(delay)
    )
    client.pump._tick()
    monkeypatch.undo()
    assert delays == [pytest.approx(0.1 / queue_writer.TICK_SHARE)]


# Who is parted from


async def test_the_node_closes_whom_it_has_no_room_for_and_cuts_off_who_was_closed_already(client):
    closed: list[str] = []

    def part() -> None:
        closed.append("slow")
        client.transport.closing = True  # as a transport does that still has something to write

    client.socket.on_slow = part
    client.transport.abort = lambda: closed.append("aborted")
    client.socket.part_slow()
    client.socket.part_slow()
    assert closed == ["slow", "aborted"]


@pytest.mark.parametrize("end", ["it reads", "let_go", "abort", "part", "the transport"])
async def test_a_connection_waits_until_its_client_reads_or_is_gone(client, end):
    client.transport.waiting = 10_001
    waiting = asyncio.create_task(client.socket.until(10_000), name="wait")
    await turns_of_the_loop()
    assert not waiting.done()
    match end:
        case "it reads":
            client.transport.waiting = 10_000
        case "let_go":
            client.socket.let_go()
        case "abort":
            client.socket.abort()
        case "part":
            client.socket.part(b"", 4413)
        case "the transport":
            client.transport.closing = True
    await asyncio.wait_for(waiting, DEADLINE)
    client.transport.waiting = 0
    await eventually(lambda: repr(client.pump) == "<QueueWriter 0 sockets behind>")


async def test_a_connection_whose_client_waits_for_little_waits_for_nothing(client):
    client.transport.waiting = 10_000
    await client.socket.until(10_000)
    assert repr(client.pump) == "<QueueWriter 0 sockets behind>"


async def test_what_the_clock_logs_has_the_ids_of_no_client():
    """Whoever falls behind first sets the clock; it is not to sign what becomes of the others."""
    first, other = Client(), Client()
    other.pump = other.socket._writer = first.pump
    seen: list[dict[str, Any]] = []
    other.socket.on_slow = lambda: seen.append(get_contextvars())
    other.socket._limits = Limits(max_queue_bytes=1, slow_consumer_seconds=0.001)
    for client in (first, other):
        client.transport.waiting = 2 * PIECE_BYTES
    with bound_contextvars(connection_id="first", request_id="of the first"):
        first.pump.watch(first.socket)
    other.socket.send([b"x"])
    await eventually(lambda: seen)
    assert "connection_id" not in seen[0]
    assert "request_id" not in seen[0]
