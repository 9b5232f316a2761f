"""A process of clients that send one kind of frame as fast as they are read, and read what they are told.

    python -m tests.acceptance.flooder PORT PATH KIND COUNT SECONDS

Prints a line of JSON when all of them are closed, or the time is over: the close codes, null for a connection
that was open still or broke off, and how many MiB were sent.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field

from tests.raw_socket import CLOSE, CONTINUATION, PING, PONG, TEXT, frame

CHUNK_BYTES = 262_144  # about what is offered to the network at once
READ_BYTES = 65_536
LARGE = 60_000  # bytes of a large payload


def text(message: object) -> bytes:
    return frame(TEXT, json.dumps(message).encode())


def _subscriptions() -> bytes:
    channels = [f"room:{number}" for number in range(50)]
    return b"".join(
        text({"type": kind, "channel": channel})
        for channel in channels
        for kind in ("subscribe", "unsubscribe")
    )


FLOODS = {
    "empty continuations": frame(CONTINUATION, b"", final=False),
    "fragments of one byte": frame(CONTINUATION, b"", final=False) * 5
    + frame(CONTINUATION, b" ", final=False),
    "pings": frame(PING, b""),
    "pongs": frame(PONG, b"x" * 100),
    "tiny messages": frame(TEXT, b""),
    "invalid JSON": frame(TEXT, b'{"type":"ping"'),
    "subscriptions": _subscriptions(),
    "large invalid JSON": frame(TEXT, b"[" * LARGE),
    "large broadcasts": text({"type": "broadcast", "channel": "room:flood", "payload": "x" * LARGE}),
}
WITHIN_RATE = {"large invalid JSON", "large broadcasts"}  # so many at once do not get beyond their rate here


@dataclass
class Flooder:
    """One connection, from the upgrade on."""

    plug: socket.socket
    path: str
    first: bytes  # sent once
    chunk: bytes
    heard: bytearray = field(default_factory=bytearray)
    unsent: memoryview = field(default_factory=lambda: memoryview(b""))
    sent: int = 0
    code: int | None = None  # of the server's close
    is_over: bool = False
    is_upgraded: bool = False

    def ask(self) -> None:
        upgrade = (
            f"GET {self.path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        self.unsent = memoryview(upgrade.encode())

    def send(self) -> None:
        if not self.unsent and self.is_upgraded:
            self.unsent, self.first = memoryview(self.first or self.chunk), b""
        count = self.plug.send(self.unsent)
        self.sent += count
        self.unsent = self.unsent[count:]

    def read(self) -> None:
        data = self.plug.recv(READ_BYTES)
        self.is_over = not data
        self.heard += data
        if not self.is_upgraded and b"\r\n\r\n" in self.heard:
            assert b" 101 " in self.heard
            del self.heard[: self.heard.index(b"\r\n\r\n") + 4]
            self.is_upgraded = True
        while self.is_upgraded and self._read_frame():
            pass

    def _read_frame(self) -> bool:
        """Read a frame of the server, if it is whole."""
        heard, start = self.heard, 2
        if len(heard) < 10 and len(heard) < start + (heard[1] if len(heard) > 1 else 2):
            return False
        length = heard[1]
        if length > 125:
            start = 4 if length == 126 else 10
            length = int.from_bytes(heard[2:start], "big")
        if len(heard) < start + length:
            return False
        if heard[0] & 0x0F == CLOSE:
            self.code = int.from_bytes(heard[start : start + 2], "big")
        del heard[: start + length]
        return True


def main(port: int, path: str, kind: str, count: int, seconds: float) -> None:
    flood = FLOODS[kind]
    beginning = frame(TEXT, b'"', final=False) if flood[0] & 0x0F == CONTINUATION else b""
    chunk = flood * max(1, CHUNK_BYTES // len(flood))
    waiting = selectors.DefaultSelector()
    flooders = []
    for _ in range(count):
        plug = socket.create_connection(("127.0.0.1", port))
        plug.setblocking(False)
        flooder = Flooder(plug, path, beginning, chunk)
        flooder.ask()
        flooders.append(flooder)
        waiting.register(plug, selectors.EVENT_READ | selectors.EVENT_WRITE, flooder)
    deadline = time.monotonic() + seconds
    while waiting.get_map() and time.monotonic() < deadline:
        for key, events in waiting.select(1.0):
            _serve(key.data, events)
            if key.data.is_over:
                waiting.unregister(key.fileobj)
                key.data.plug.close()
    mib = sum(flooder.sent for flooder in flooders) / 1_048_576
    result = {"codes": [flooder.code for flooder in flooders], "sent_mib": round(mib, 1)}
    sys.stdout.write(json.dumps(result) + "\n")


def _serve(flooder: Flooder, events: int) -> None:
    try:
        if events & selectors.EVENT_READ:
            flooder.read()
        if events & selectors.EVENT_WRITE and not flooder.is_over and flooder.code is None:
            flooder.send()
    except BlockingIOError:
        pass
    except ConnectionError:
        flooder.is_over = True


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))
