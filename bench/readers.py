"""A process full of subscribers that cost next to nothing: bare sockets that count what they get.

    python -m bench.readers PORT PATH SUBSCRIBERS

Prints `ready` when all are subscribed; answers each line on stdin with the number of changes received.
"""

from __future__ import annotations

import os
import selectors
import socket
import sys

MARK = b'"event":"INSERT"'  # once in each change
SUBSCRIBE = b'{"type":"subscribe","channel":"table:bench"}'
READ_BYTES = 1_048_576


def main(port: int, path: str, subscribers: int) -> None:
    selector = selectors.DefaultSelector()
    for _ in range(subscribers):
        selector.register(_subscribe(port, path), selectors.EVENT_READ, bytearray())
    selector.register(sys.stdin, selectors.EVENT_READ)
    print("ready", flush=True)
    received = 0
    while True:
        for key, _ in selector.select():
            if isinstance(key.fileobj, socket.socket):
                received += _count(key.fileobj, key.data)
            elif sys.stdin.readline():
                print(received, flush=True)
            else:
                return


def _subscribe(port: int, path: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(SUBSCRIBE))
    seen = b""
    while b"\r\n\r\n" not in seen:
        seen += connection.recv(READ_BYTES)
    connection.sendall(bytes((0x81, 0x80 | len(SUBSCRIBE))) + mask + masked)
    while b'"subscribed"' not in seen:
        seen += connection.recv(READ_BYTES)
    return connection


def _count(connection: socket.socket, rest: bytearray) -> int:
    """Count the marks in what came, also one that lies across two reads."""
    rest += connection.recv(READ_BYTES)
    found = rest.count(MARK)
    del rest[: max(rest.rfind(MARK) + len(MARK) if found else 0, len(rest) - len(MARK) + 1)]
    return found


main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
