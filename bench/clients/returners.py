"""A process of clients that come back at once, each with the changes that it missed.

    python -m bench.clients.returners PORT PATH HEAR

A client is in when it has heard HEAR. A command a line on stdin: `open N` lets N in, some at a time, and
answers in how many seconds; `return CHANGES WORDS` lets all of them say WORDS and answers in how many seconds
the last of them had so many changes.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time
from dataclasses import dataclass, field

from bench.clients.changes import Counter
from bench.clients.sockets import READ_BYTES, connect, read_until, say

AT_ONCE = 100  # connections that may not be in yet
DEADLINE_SECONDS = 60


@dataclass
class Client:
    connection: socket.socket
    counter: Counter = field(default_factory=Counter)
    changes: int = 0

    def read(self) -> int:
        """Take in what came; return how many changes it is."""
        came = self.connection.recv(READ_BYTES)
        if not came:
            raise SystemExit("the server has closed a client that came back")
        found = self.counter.count(came)
        self.changes += found
        return found


def main(port: int, path: str, answer: bytes) -> None:
    clients: list[Client] = []
    for line in sys.stdin:
        command, argument, *words = line.strip().split(" ", 2)
        started = time.monotonic()
        if command == "open":
            for start in range(0, int(argument), AT_ONCE):
                wave = [connect(port, path) for _ in range(start, min(start + AT_ONCE, int(argument)))]
                for connection in wave:
                    read_until(connection, answer)
                clients += [Client(connection) for connection in wave]
        else:
            _return(clients, int(argument), words[0])
        print(time.monotonic() - started, flush=True)


def _return(clients: list[Client], changes: int, words: str) -> None:
    """Say the words for all, and read until each has so many changes; raises SystemExit if it has more."""
    selector = selectors.DefaultSelector()
    for client in clients:
        say(client.connection, words)
        selector.register(client.connection, selectors.EVENT_READ, client)
    missing, deadline = len(clients) * changes, time.monotonic() + DEADLINE_SECONDS
    while missing > 0:
        ready = selector.select(deadline - time.monotonic())
        if not ready:
            raise SystemExit(f"{missing} changes did not come")
        for key, _ in ready:
            missing -= key.data.read()
    if any(client.changes != changes for client in clients):
        raise SystemExit("some clients have more changes than they missed, and some have fewer")


main(int(sys.argv[1]), sys.argv[2], sys.argv[3].encode())
