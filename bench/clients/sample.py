"""A process of few subscribers that note when each change came.

    python -m bench.clients.sample PORT PATH SAY HEAR

Each client says SAY and is in when it has heard HEAR. A command a line on stdin: `open N` lets N more in and
answers `done`, `least` answers how many changes the client has that has the fewest, and `take FILE` writes
what came since the last time, as pairs of 64 bits: the id of a row, and the nanoseconds since 1970.
"""

from __future__ import annotations

import re
import selectors
import socket
import sys
import time
from array import array
from dataclasses import dataclass, field
from pathlib import Path

from bench.clients.sockets import READ_BYTES, subscribe

ROW = re.compile(rb'"data" ?: ?\{"id": ?(\d+),')  # once in each change


@dataclass
class Client:
    came: array[int] = field(default_factory=lambda: array("q"))
    rest: bytes = b""  # what may be the beginning of a match

    def take_in(self, data: bytes, at: int) -> None:
        data = self.rest + data
        end = 0
        for row in ROW.finditer(data):
            self.came.append(int(row[1]))
            self.came.append(at)
            end = row.end()
        self.rest = data[end:]


def main(port: int, path: str, words: str, answer: bytes) -> None:
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    clients: list[Client] = []
    while True:
        told, read = False, []
        for key, _ in selector.select():
            if isinstance(key.fileobj, socket.socket):
                # The clients that are ready are read before any of what they got is looked at.
                read.append((key.data, key.fileobj.recv(READ_BYTES), time.time_ns()))
                if not read[-1][1]:
                    raise SystemExit("the server has closed a client of the sample")
            else:
                told = True
        for client, data, at in read:
            client.take_in(data, at)
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
            print(min(len(client.came) for client in clients) // 2, flush=True)
        elif command == "take":
            Path(argument).write_bytes(b"".join(_taken(client) for client in clients))
            print("done", flush=True)
        else:
            return


def _taken(client: Client) -> bytes:
    taken = client.came.tobytes()
    del client.came[:]
    return taken


main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4].encode())
