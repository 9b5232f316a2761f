"""The hub as small plays see it: what Redis publishes, and what each subscriber was sent in the end.

Shared by the unit tests of the hub. Publications are lines of the feed, positions have one-letter epochs.
"""

from __future__ import annotations

import json
import struct
from collections import defaultdict

from gateway.hub.hub import Delivery, Hub, deliver
from gateway.hub.subscribers import subscription
from gateway.hub.topic import MAX_HELD_BYTES, Step, Topic
from gateway.wire.native import NativeCodec
from realtime.channels import Event, Table, parse_channel
from realtime.publications import Position, Publication, change_line, line_prefix

KEY = ("demo", "table:public.users")
USERS = Table("public", "users")
EVERYTHING = "table:users"
NATIVE = NativeCodec()  # of all subscribers


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


def delivered(topic: Topic[str], steps: list[Step]) -> list[Delivery[str]]:
    """What is to be sent for steps of a topic, where no stage waits."""
    return [delivery for step in steps for delivery in deliver(topic, step)]


class Play:
    """A hub with subscribers that keep what they are sent: the id of each change, or `resync POSITION`."""

    def __init__(self, *, live_at: Position | None = None, max_held_bytes: int = MAX_HELD_BYTES) -> None:
        self.hub: Hub[str] = Hub(max_held_bytes)
        self.inbox: dict[str, list[str]] = defaultdict(list)
        self.channels: dict[str, set[str]] = defaultdict(set)
        self.topic = self.hub.open(KEY)
        if live_at is not None:
            self.catch_up(live_at)

    def join(self, subscriber: str, name: str = EVERYTHING) -> None:
        self.hub.add(KEY, subscription(subscriber, parse_channel(name), subscriber, NATIVE))

    def leave(self, subscriber: str, name: str = EVERYTHING) -> None:
        self.hub.remove(KEY, subscription(subscriber, parse_channel(name), subscriber, NATIVE))

    def publish(self, *publications: Publication) -> None:
        for each in publications:
            self._deliver(self.topic.received(each))

    def catch_up(self, position: Position, missed: list[Publication] | None = None) -> None:
        """Hand on what history has up to a position, in one page; None: history does not reach."""
        self.miss(*(missed or []))
        self._deliver(self.topic.caught_up(position, is_lost=missed is None))

    def miss(self, *page: Publication) -> None:
        """Hand on a page of history to a topic that is BEHIND."""
        self._deliver(self.topic.missed(page))

    def lose(self) -> None:
        """The subscription to Redis is lost."""
        self.topic.lose()

    def _deliver(self, steps: list[Step]) -> None:
        for delivery in delivered(self.topic, steps):
            for message in payloads(b"".join(delivery.pieces)):
                said = message["id"] if message["type"] == "realtime" else f"resync {message['position']}"
                for subscriber in delivery.subscribers:
                    self.inbox[subscriber].append(said)
                    self.channels[subscriber].add(message["channel"])


def play_at_five(max_held_bytes: int = MAX_HELD_BYTES) -> Play:
    """A live topic at e-5 with one subscriber, Ann."""
    play = Play(live_at=at(5), max_held_bytes=max_held_bytes)
    play.join("ann")
    return play
