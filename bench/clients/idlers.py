"""A process of clients that sit there: bare sockets, each of which hears nothing but answers.

    python -m bench.clients.idlers PORT PATH

Takes a command a line on stdin and answers `done`: `open N` lets N more in; `subscribe CHANNEL` and
`presence CHANNEL` say that for every one of them, with its number in place of `*`.
"""

from __future__ import annotations

import json
import os
import socket
import sys

READ_BYTES = 65_536
AT_ONCE = 100  # clients that may have asked and not read the answer
DEADLINE_SECONDS = 60


def main(port: int, path: str) -> None:
    clients: list[socket.socket] = []
    for line in sys.stdin:
        command, argument = line.split()
        if command == "open":
            clients += [_open(port, path) for _ in range(int(argument))]
        else:
            for start in range(0, len(clients), AT_ONCE):
                _say(clients[start : start + AT_ONCE], start, command, argument)
        print("done", flush=True)


def _open(port: int, path: str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS)
    client.sendall(
        f"GET {path} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    _read_until(client, b'"connected"')
    return client


def _say(clients: list[socket.socket], first: int, kind: str, channel: str) -> None:
    answer = b'"ack"' if kind == "presence" else b'"subscribed"'
    for number, client in enumerate(clients, first):
        message = {"type": kind, "channel": channel.replace("*", str(number)), "ref": 1}
        if kind == "presence":
            message["state"] = {"status": "online"}
        client.sendall(_frame(json.dumps(message).encode()))
    for client in clients:
        _read_until(client, answer)


def _frame(text: bytes) -> bytes:
    assert len(text) < 126
    mask = os.urandom(4)
    return bytes((0x81, 0x80 | len(text))) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(text))


def _read_until(client: socket.socket, expected: bytes) -> None:
    seen = b""
    while expected not in seen:
        came = client.recv(READ_BYTES)
        assert came, f"closed instead of {expected!r}, after {seen!r}"
        seen += came


main(int(sys.argv[1]), sys.argv[2])
