"""Clients by the thousand in one process: each is a protocol that follows one table, and reads what it must.

One that loses its connection goes on at once on the next of its ports, with `since`, as the contract asks.
The rows of the table have the ids 1, 2, 3, … in the order of their commits, so a client sees what is missing.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import resource
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from tests.raw_socket import CLOSE, PING, PONG, TEXT, frame

CHANGE = b'{"type":"realtime"'
ROW, SENT_AT = b'"data":{"id":', b'"sent_at":'


@dataclass
class LightClient:
    """What one client saw, over all of its connections."""

    ports: Sequence[int]
    token: str
    channel: str
    last: int = 0  # the id of the last row that it was told of
    since: str | None = None  # None: not subscribed so far
    subscribed: int = 0  # how often
    not_recovered: int = 0  # of these, when it came back
    faults: list[str] = field(default_factory=list)  # errors, closes, and rows out of turn
    back_at: float = 0.0  # monotonic, when it was last subscribed
    tries: int = 0  # connections that were not let in, or not even accepted
    on_change: Callable[[bytes], None] = lambda payload: None
    transport: asyncio.Transport | None = None

    async def follow(self) -> None:
        """Stay, and come back at once, until cancelled."""
        loop = asyncio.get_running_loop()
        for port in itertools.cycle(self.ports):
            try:
                _, wire = await loop.create_connection(partial(_Wire, self), "127.0.0.1", port)
            except OSError:
                self.tries += 1
                await asyncio.sleep(0.01)  # a port of which nobody is there any more answers at once
            else:
                await wire.is_lost.wait()

    def say(self, **message: object) -> None:
        assert self.transport is not None
        self.transport.write(frame(TEXT, json.dumps(message).encode()))

    def hear(self, payload: bytes) -> None:
        if not payload.startswith(CHANGE):
            self._hear_answer(json.loads(payload))
            return
        start = payload.index(ROW) + len(ROW)
        row = int(payload[start : payload.index(b",", start)])
        if self.last and row != self.last + 1:
            self.faults.append(f"row {row} after {self.last}")
        self.last = row
        start = payload.rindex(b'"id":"') + 6
        self.since = payload[start : payload.index(b'"', start)].decode()
        self.on_change(payload)

    def _hear_answer(self, message: dict) -> None:
        match message["type"]:
            case "connected":
                more = {} if self.since is None else {"since": self.since}
                self.say(type="subscribe", channel=self.channel, **more)
            case "subscribed":
                self.not_recovered += self.since is not None and not message["recovered"]
                self.since = message["position"]
                self.subscribed += 1
                self.back_at = time.monotonic()
            case _:
                self.faults.append(json.dumps(message))


class _Wire(asyncio.Protocol):
    """One connection of a client: the handshake, then frames."""

    def __init__(self, client: LightClient) -> None:
        self._client = client
        self._buffer = b""
        self._is_open = False  # the upgrade was answered
        self.is_lost = asyncio.Event()

    def connection_made(self, transport) -> None:
        self._transport = self._client.transport = transport
        transport.write(
            f"GET /projects/demo/realtime/ws?token={self._client.token} HTTP/1.1\r\nHost: x\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )

    def connection_lost(self, error) -> None:
        self._client.tries += not self._is_open
        self._client.transport = None
        self.is_lost.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._is_open:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head.partition(b"\r\n")[0]:
                self._client.faults.append(head.decode())
                self._transport.close()
                return
            self._is_open, self._buffer = True, rest
        for opcode, payload in self._frames():
            if opcode == TEXT:
                self._client.hear(payload)
            elif opcode == PING:
                self._transport.write(frame(PONG, payload))
            elif opcode == CLOSE:
                self._client.faults.append(f"close {struct.unpack('!H', payload[:2])[0]}")
                self._transport.close()

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        """The frames that are whole; servers send them without mask and in one piece."""
        buffer, at = self._buffer, 0
        while len(buffer) - at >= 2:
            length, start = buffer[at + 1], at + 2
            if length == 126:
                length, start = int.from_bytes(buffer[at + 2 : at + 4]), at + 4
            elif length == 127:
                length, start = int.from_bytes(buffer[at + 2 : at + 10]), at + 10
            if len(buffer) < start + length:
                break
            yield buffer[at] & 0x0F, buffer[start : start + length]
            at = start + length
        self._buffer = buffer[at:]


def files_for(count: int) -> str | None:
    """Let this process have so many files open; returns why it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        return f"{count} files are needed, and `ulimit -Hn` allows {hard}"
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    return None
