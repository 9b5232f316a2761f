"""A process of clients that sit there: bare sockets, each of which hears nothing but answers.

    python -m bench.clients.idlers PORT PATH

Takes a command a line on stdin and answers `done`: `open N` lets N more in; `subscribe CHANNEL` and
`presence CHANNEL` say that for every one of them, with its number in place of `*`.
"""

from __future__ import annotations

import json
import socket
import sys

from bench.clients.sockets import connect, read_until, say

AT_ONCE = 100  # clients that may have asked and not read the answer


def main(port: int, path: str) -> None:
    clients: list[socket.socket] = []
    for line in sys.stdin:
        command, argument = line.split()
        if command == "open":
            clients += [_open(port, path) for _ in range(int(argument))]
        else:
            for start in range(0, len(clients), AT_ONCE):
                _say_all(clients[start : start + AT_ONCE], start, command, argument)
        print("done", flush=True)


def _open(port: int, path: str) -> socket.socket:
    client = connect(port, path)
    read_until(client, b'"connected"')
    return client


def _say_all(clients: list[socket.socket], first: int, kind: str, channel: str) -> None:
    answer = b'"ack"' if kind == "presence" else b'"subscribed"'
    for number, client in enumerate(clients, first):
        message = {"type": kind, "channel": channel.replace("*", str(number)), "ref": 1}
        if kind == "presence":
            message["state"] = {"status": "online"}
        say(client, json.dumps(message))
    for client in clients:
        read_until(client, answer)


main(int(sys.argv[1]), sys.argv[2])
