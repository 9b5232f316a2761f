"""The hub as small plays see it: what Redis publishes, and what each socket was sent in the end.

Shared by the unit tests of the hub. Publications are lines of the feed, positions have one-letter epochs.
"""

from __future__ import annotations

import json
import struct
from collections import defaultdict

from gateway.hub.hub import Hub
from realtime.channels import Event, Table, parse_channel
from realtime.publications import Position, Publication, change_line, line_prefix

KEY = ("demo", "table:public.users")
USERS = Table("public", "users")
EVERYTHING = "table:users"


def line(event: Event = Event.INSERT) -> bytes:
    return change_line(line_prefix(USERS, event), "{}", None, "2024-05-01T10:00:00.000000Z", False).encode()


def publication(first: int, last: int | None = None, epoch: str = "e") -> Publication:
    return Publication(epoch, first, [line()] * ((last or first) - first + 1))


def at(offset: int, epoch: str = "e") -> Position:
    return Position(epoch, offset)


def payloads(stream: bytes):
    while stream:
        length, start = stream[1], 2
        if length == 126:
            (length,), start = struct.unpack("!H", stream[2:4]), 4
        yield json.loads(stream[start : start + length])
        stream = stream[start + length :]


def begun_anew(epoch: str) -> Publication:
    """What tells that a topic was begun anew: a publication without lines."""
    return Publication(epoch, 1, [])


class Play:
    """A hub with sockets that keep what they are sent: the id of each change, or `resync POSITION`."""

    def __init__(self, *, live_at: Position | None = None) -> None:
        self.hub: Hub[str] = Hub()
        self.inbox: dict[str, list[str]] = defaultdict(list)
        self.channels: dict[str, set[str]] = defaultdict(set)
        self.topic = self.hub.open(KEY)
        if live_at is not None:
            self.catch_up(live_at)

    def join(self, socket: str, name: str = EVERYTHING) -> None:
        self.hub.add(KEY, parse_channel(name), socket)

    def leave(self, socket: str, name: str = EVERYTHING) -> None:
        self.hub.remove(KEY, parse_channel(name), socket)

    def publish(self, *publications: Publication) -> None:
        for each in publications:
            self._deliver(self.hub.received(KEY, each))

    def catch_up(self, position: Position, missed: list[Publication] | None = None) -> None:
        self._deliver(self.hub.caught_up(KEY, position, missed))

    def miss(self, *page: Publication) -> None:
        """Hand on a page of history to a topic that is BEHIND."""
        self._deliver(self.hub.missed(KEY, list(page)))

    def _deliver(self, deliveries) -> None:
        for delivery in deliveries:
            for message in payloads(b"".join(delivery.pieces)):
                said = message["id"] if message["type"] == "realtime" else f"resync {message['position']}"
                for socket in delivery.sockets:
                    self.inbox[socket].append(said)
                    self.channels[socket].add(message["channel"])


def play_at_five() -> Play:
    """A live topic at e-5 with one subscriber, Ann."""
    play = Play(live_at=at(5))
    play.join("ann")
    return play
