"""A process full of subscribers that throw away what they get: elsewhere they would be other machines.

    python -m bench.clients.crowd PORT PATH SAY HEAR

Each client says SAY and is in when it has heard HEAR. A command a line on stdin: `open N` lets N more in and
answers `done`, `bytes` answers how many bytes came so far.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time

from bench.clients.sockets import subscribe

READ_BYTES = 1_048_576
BUFFER_BYTES = 1_048_576  # of each client in the kernel, so that no server waits for one within a pause
PAUSE_SECONDS = 0.05  # in which bytes of many messages come together, so that few reads take them
# On Linux bytes of a TCP stream are dropped without a copy.
FLAGS = socket.MSG_TRUNC if sys.platform == "linux" else 0


def main(port: int, path: str, words: str, answer: bytes) -> None:
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    waste, received = bytearray(READ_BYTES), 0
    while True:
        told = False
        for key, _ in selector.select():
            if isinstance(key.fileobj, socket.socket):
                received += _drain(key.fileobj, waste)
            else:
                told = True
        if not told:
            time.sleep(PAUSE_SECONDS)
            continue
        command, _, argument = sys.stdin.readline().strip().partition(" ")
        if command == "open":
            for _ in range(int(argument)):
                client = subscribe(port, path, words, answer)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
                selector.register(client, selectors.EVENT_READ)
            print("done", flush=True)
        elif command == "bytes":
            print(received, flush=True)
        else:
            return


def _drain(client: socket.socket, waste: bytearray) -> int:
    came = client.recv_into(waste, READ_BYTES, FLAGS)
    if not came:
        raise SystemExit("the server has closed a client of the crowd")
    return came


main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4].encode())
