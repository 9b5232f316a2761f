"""What the door in front of aiohttp's WebSocket reader costs: CPU a frame, with it and without.

In this process, without a network: bytes go to the reader as the transport hands them over, and messages are
taken as a connection takes them. Both ways take turns, and the best round of each counts.
"""

from __future__ import annotations

import asyncio
import os
import struct
import time
from typing import Any

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import WebSocketReader
from aiohttp.web_ws import WebSocketDataQueue  # type: ignore[attr-defined]  # for who reads it in our place

from bench.figures import Figure
from gateway.websocket.intake import FrameIntake
from gateway.websocket.pace import Pace
from gateway.websocket.turns import Turns

SECONDS = 0.3  # of one round
MAX_MESSAGE_BYTES = 65_536
MESSAGE = b'{"type":"broadcast","channel":"room:lobby","payload":{"n":1},"ref":1}'
TEXT, CONTINUATION = 0x1, 0x0


def frame(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    head = bytes((opcode | final << 7,))
    size = bytes((0x80 | len(payload),)) if len(payload) < 126 else struct.pack("!BH", 0xFE, len(payload))
    mask = os.urandom(4)
    return head + size + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


# What comes in one read, how many frames that is, and how many messages.
READS = {
    "a message at a time": (frame(TEXT, MESSAGE), 1, 1),
    "32 messages in one read": (frame(TEXT, MESSAGE) * 32, 32, 32),
    "a message of 60,000 bytes": (frame(TEXT, b"x" * 60_000), 1, 1),
    "a message in 31 empty fragments": (
        frame(TEXT, MESSAGE, final=False)
        + frame(CONTINUATION, b"", final=False) * 30
        + frame(CONTINUATION, b""),
        32,
        1,
    ),
}


class Network(asyncio.Transport):
    """A transport that is read whatever it is told."""

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def measure(rounds: int) -> list[Figure]:
    figures = []
    print("frames: CPU a frame without the door, and with it")
    for name, (data, frames, messages) in READS.items():
        best = {False: float("inf"), True: float("inf")}
        for _ in range(rounds):
            for has_door in best:
                best[has_door] = min(best[has_door], await _seconds_a_read(data, messages, has_door))
        bare, door = (1e6 * seconds / frames for seconds in best.values())
        print(f"  {name}: {bare:.2f} µs, {door:.2f} µs ({door - bare:+.2f})")
        figures.append(Figure(f"{name}: CPU a frame", door, "µs", {"without the door": bare}))
    return figures


async def _seconds_a_read(data: bytes, messages: int, has_door: bool) -> float:
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    queue = WebSocketDataQueue(protocol, 2**18, loop=loop)
    reader: Any = WebSocketReader(queue, MAX_MESSAGE_BYTES + 1, False, True)
    door = FrameIntake(
        reader, Network(), Pace.of_client(float("inf"), MAX_MESSAGE_BYTES, time.monotonic()), b"", Turns()
    )
    door.open(lambda controls, fragments: None)
    way = door if has_door else reader
    reads, began = 0, time.process_time()
    while (seconds := time.process_time() - began) < SECONDS:
        for _ in range(100):
            way.feed_data(data)
            for _ in range(messages):
                await queue.read()
                if has_door:
                    door.taken()
        reads += 100
    return seconds / reads
