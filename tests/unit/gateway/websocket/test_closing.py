"""How a connection ends, with a WebSocket and a send queue of the test's own."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from gateway.websocket.closing import PARTING_BYTES, Ending, refuse
from gateway.wire.events import Refused
from gateway.wire.frames import close_frame
from gateway.wire.native import NativeCodec
from gateway.wire.queue_writer import QueueWriter
from gateway.wire.send_queue import SendQueue
from realtime.errors import ClientError, Code
from realtime.settings.config import Limits

CODEC = NativeCodec()
WHY = Refused(Code.NOT_FOUND, "gone")


class Network:
    """A transport, and the WebSocket over it; `answers` is whether the client answers a close."""

    def __init__(self, waiting: int = 0, *, answers: bool = True) -> None:
        self.waiting = waiting
        self.answers = answers
        self.log: list[Any] = []

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return "abort" in self.log or "end" in self.log

    def write(self, data: bytes) -> None:
        self.log.append(data)

    write_frame = write

    def abort(self) -> None:
        self.log.append("abort")

    async def close(self, *, code: int) -> None:
        self.log.append(code)
        if not self.answers:
            await asyncio.Event().wait()


class Parted(Network):
    def close(self) -> None:  # type: ignore[override]
        self.log.append("end")


def ending(network: Network, **more: Any) -> Ending:
    queue = SendQueue(cast(Any, network), "c", Limits(), QueueWriter(), CODEC)
    return Ending(cast(Any, network), queue, **more)


async def test_a_client_that_is_not_let_in_is_told_why_before_the_close() -> None:
    network = Network()
    await refuse(cast(Any, network), CODEC, ClientError(Code.NOT_FOUND, "gone"))
    assert network.log == [CODEC.encode(WHY), 4404]


async def test_a_connection_is_closed_after_the_reason_is_written() -> None:
    network = Network()
    one = ending(network)
    assert not one.is_near
    one.begin(4404, WHY)
    assert one.has_begun
    await one.wait()
    assert network.log == [CODEC.encode(WHY), 4404]
    assert one.outcome == (4404, Code.NOT_FOUND)


async def test_a_client_that_does_not_answer_the_close_is_cut_off() -> None:
    network = Network(answers=False)
    one = ending(network, close_seconds=0)
    one.begin(1001, None)
    await one.wait()
    assert network.log[-1] == "abort"
    assert one.outcome == (1001, None)


async def test_a_client_that_may_not_be_reading_is_not_waited_for() -> None:
    network = Parted(waiting=PARTING_BYTES + 1)
    one = ending(network)
    one.begin(4404, WHY)
    await one.wait()
    assert network.log == [CODEC.encode(WHY) + close_frame(4404), "end"]


async def test_the_end_that_was_noted_first_counts() -> None:
    one = ending(Network())
    one.note_close(1000)
    one.note_violation(1002)
    one.note_close(4000)
    assert one.outcome == (1000, None)
    other = ending(Network())
    other.note_violation(1002)
    assert other.outcome == (1002, None)
