"""WebSockets of clients that cost next to nothing: a bare socket each, for the processes full of clients."""

from __future__ import annotations

import os
import socket
import struct

READ_BYTES = 262_144
DEADLINE_SECONDS = 60


def open_client(port: int, path: str) -> socket.socket:
    """Upgrade a new connection; return it when the server has agreed."""
    client = connect(port, path)
    read_until(client, b"\r\n\r\n")
    return client


def subscribe(port: int, path: str, words: str, answer: bytes) -> socket.socket:
    """Open a client, let it say the words, and return it when it has heard the answer."""
    client = open_client(port, path)
    say(client, words)
    read_until(client, answer)
    return client


def connect(port: int, path: str) -> socket.socket:
    """Ask for an upgrade on a new connection."""
    client = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS)
    client.sendall(
        f"GET {path} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    return client


def say(client: socket.socket, text: str) -> None:
    """Send a text message."""
    payload, mask = text.encode(), os.urandom(4)
    size = bytes((0x80 | len(payload),)) if len(payload) < 126 else struct.pack("!BH", 0xFE, len(payload))
    client.sendall(b"\x81" + size + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)))


def read_until(client: socket.socket, expected: bytes) -> bytes:
    """Read until this came; return all that came with it."""
    seen = b""
    while expected not in seen:
        came = client.recv(READ_BYTES)
        assert came, f"closed instead of {expected!r}, after {seen!r}"
        seen += came
    return seen
