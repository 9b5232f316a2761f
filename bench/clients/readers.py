"""A process full of subscribers that cost next to nothing: bare sockets that count what they get.

    python -m bench.clients.readers PORT PATH SAY HEAR SUBSCRIBERS

Each says SAY, and is subscribed when it has heard HEAR. Prints `ready` when all are. Answers `received` on
stdin with the number of changes received so far, and `delays` with the nanoseconds that each change took to
one of the subscribers since the last answer.
"""

from __future__ import annotations

import re
import selectors
import socket
import sys
import time

from bench.clients.changes import Counter
from bench.clients.sockets import subscribe

AT = re.compile(rb'"at": ([0-9]+),')  # once in each change: when it was published, in ns
READ_BYTES = 1_048_576


def main(port: int, path: str, words: str, answer: bytes, subscribers: int) -> None:
    selector = selectors.DefaultSelector()
    connections = [subscribe(port, path, words, answer) for _ in range(subscribers)]
    for connection in connections:
        selector.register(connection, selectors.EVENT_READ, Counter())
    timed, rest = connections[len(connections) // 2], bytearray()
    selector.register(sys.stdin, selectors.EVENT_READ)
    print("ready", flush=True)
    received, delays = 0, list[int]()
    while True:
        for key, _ in selector.select():
            if key.fileobj is timed:
                received += _time(timed, rest, delays)
            elif isinstance(key.fileobj, socket.socket):
                received += key.data.count(_read(key.fileobj))
            elif asked := sys.stdin.readline():
                print(delays if asked == "delays\n" else received, flush=True)
                if asked == "delays\n":
                    delays.clear()
            else:
                return


def _read(connection: socket.socket) -> bytes:
    came = connection.recv(READ_BYTES)
    if not came:
        raise SystemExit("the server has closed a subscriber")
    return came


def _time(connection: socket.socket, rest: bytearray, delays: list[int]) -> int:
    """Count the changes in what came, and note how long each took."""
    rest += _read(connection)
    now, end, found = time.monotonic_ns(), 0, 0
    for found, at in enumerate(AT.finditer(rest), 1):  # noqa: B007
        delays.append(now - int(at[1]))
        end = at.end()
    del rest[:end]
    return found


main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4].encode(), int(sys.argv[5]))
