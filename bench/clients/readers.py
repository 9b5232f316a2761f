"""A process full of subscribers that cost next to nothing: bare sockets that count what they get.

    python -m bench.clients.readers PORT PATH SUBSCRIBERS

Prints `ready` when all are subscribed. Answers `received` on stdin with the number of changes received so
far, and `delays` with the nanoseconds that each change took to one of the subscribers since the last answer.
"""

from __future__ import annotations

import os
import re
import selectors
import socket
import sys
import time

MARK = b'"event":"INSERT"'  # once in each change
SUBSCRIBE = b'{"type":"subscribe","channel":"table:bench"}'
AT = re.compile(rb'"at": ([0-9]+),')  # once in each change, too: when it was published, in ns
READ_BYTES = 1_048_576


def main(port: int, path: str, subscribers: int) -> None:
    selector = selectors.DefaultSelector()
    connections = [_subscribe(port, path) for _ in range(subscribers)]
    for connection in connections:
        selector.register(connection, selectors.EVENT_READ, bytearray())
    timed = connections[len(connections) // 2]
    selector.register(sys.stdin, selectors.EVENT_READ)
    print("ready", flush=True)
    received, delays = 0, list[int]()
    while True:
        for key, _ in selector.select():
            if key.fileobj is timed:
                received += _time(timed, key.data, delays)
            elif isinstance(key.fileobj, socket.socket):
                received += _count(key.fileobj, key.data)
            elif asked := sys.stdin.readline():
                print(delays if asked == "delays\n" else received, flush=True)
                if asked == "delays\n":
                    delays.clear()
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


def _time(connection: socket.socket, rest: bytearray, delays: list[int]) -> int:
    """Count the changes in what came, and note how long each took."""
    rest += connection.recv(READ_BYTES)
    now, end, found = time.monotonic_ns(), 0, 0
    for found, at in enumerate(AT.finditer(rest), 1):  # noqa: B007
        delays.append(now - int(at[1]))
        end = at.end()
    del rest[:end]
    return found


main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
