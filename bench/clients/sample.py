"""A process of few subscribers that note when each change came.

    python -m bench.clients.sample PORT PATH SAY HEAR

Each client says SAY and is in when it has heard HEAR. A command a line on stdin: `open N` lets N more in and
answers `done`, `least` answers how many changes the client has that has the fewest, and `take FILE` writes
what came since the last time, as pairs of 64 bits: the id of a row, and the nanoseconds since 1970.

What comes is kept, and looked at when `least` or `take` is asked, after the writers have ended: reading ten
thousands of changes a second would take from the servers what these clients take on machines of their own.
"""

from __future__ import annotations

import re
import selectors
import socket
import sys
import time
from array import array
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from bench.clients.sockets import READ_BYTES, subscribe

ROW = re.compile(rb'"data" ?: ?\{"id": ?(\d+),')  # once in each change
LOOK_BYTES = 1_048_576  # of what came that one `least` looks at; meanwhile nobody reads


@dataclass
class Client:
    """What came, in pieces with their times, and the changes in those pieces that were looked at."""

    pieces: deque[tuple[bytes, int]] = field(default_factory=deque)
    came: array[int] = field(default_factory=lambda: array("q"))
    rest: bytes = b""  # what may be the beginning of a match

    def look(self) -> int:
        """Look at the oldest piece; return its length, 0 if there is none."""
        if not self.pieces:
            return 0
        piece, at = self.pieces.popleft()
        data = self.rest + piece
        end = 0
        for row in ROW.finditer(data):
            self.came.append(int(row[1]))
            self.came.append(at)
            end = row.end()
        self.rest = data[end:]
        return len(piece)

    def take(self) -> bytes:
        """Return all that came since the last time."""
        while self.look():
            pass
        taken = self.came.tobytes()
        del self.came[:]
        return taken


def main(port: int, path: str, words: str, answer: bytes) -> None:
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    clients: list[Client] = []
    while True:
        told = False
        for key, _ in selector.select():
            if isinstance(key.fileobj, socket.socket):
                key.data.pieces.append((key.fileobj.recv(READ_BYTES), time.time_ns()))
                if not key.data.pieces[-1][0]:
                    raise SystemExit("the server has closed a client of the sample")
            else:
                told = True
        if not told:
            continue
        command, _, argument = sys.stdin.readline().strip().partition(" ")
        if command == "open":
            for _ in range(int(argument)):
                connection = subscribe(port, path, words, answer)
                clients.append(Client())
                selector.register(connection, selectors.EVENT_READ, clients[-1])
            print("done", flush=True)
        elif command == "least":
            _look(clients)
            print(min(len(client.came) for client in clients) // 2, flush=True)
        elif command == "take":
            Path(argument).write_bytes(b"".join(client.take() for client in clients))
            print("done", flush=True)
        else:
            return


def _look(clients: list[Client]) -> None:
    """Look at some of what came, a piece of each client after the other."""
    looked = 0
    while looked < LOOK_BYTES:
        more = sum(client.look() for client in clients)
        if not more:
            return
        looked += more


main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4].encode())
