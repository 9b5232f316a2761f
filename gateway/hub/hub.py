"""All topics of a node, and what each subscriber is to be sent of them.

Topics put publications in order; here each step of theirs becomes deliveries, which others carry out. The
subscribers of a topic choose the lines, and each choice is made into frames once. Never awaits, never touches
a socket.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Generic, assert_never

from gateway.hub.subscribers import SubscriberT, Subscription
from gateway.hub.topic import Resynced, RosterRead, Step, Topic
from gateway.wire.events import Resync
from gateway.wire.frames import joined_pieces
from gateway.wire.native import NativeCodec
from realtime.channels import TopicKey
from realtime.publications import Position, Publication


@dataclass(frozen=True, slots=True)
class Delivery(Generic[SubscriberT]):
    """Pieces of frames that all these subscribers are to be sent, in order."""

    subscribers: Collection[SubscriberT]
    pieces: list[bytes]
    line: bytes | None = None  # the last message of its publication as it came; None of presence and `resync`


class Hub(Generic[SubscriberT]):
    """All topics of a node. What it returns is left to be done, in order."""

    def __init__(self) -> None:
        self.topics: dict[TopicKey, Topic[SubscriberT]] = {}

    def __repr__(self) -> str:
        subscriptions = sum(len(topic.subscribers) for topic in self.topics.values())
        return f"<Hub {len(self.topics)} topics, {subscriptions} subscriptions>"

    @property
    def held_bytes(self) -> int:
        """What all topics keep until it can be delivered."""
        return sum(topic.held_bytes + topic.queued_bytes for topic in self.topics.values())

    @property
    def roster_bytes(self) -> int:
        """Entries of all who are present in the topics that somebody of this node hears."""
        rosters = (topic.roster for topic in self.topics.values())
        return sum(roster.size for roster in rosters if roster is not None)

    def shed(self) -> None:
        """Give up what topics hold and history has, too."""
        for topic in self.topics.values():
            topic.shed()

    def open(self, key: TopicKey) -> Topic[SubscriberT]:
        """Return the topic, which begins as JOINING."""
        topic = self.topics.get(key)
        if topic is None:
            topic = self.topics[key] = Topic(key[1])
        return topic

    def add(self, key: TopicKey, subscription: Subscription[SubscriberT]) -> None:
        """Let a subscriber hear the next message that an open topic delivers, and all after it."""
        self.topics[key].subscribers.add(subscription)

    def remove(self, key: TopicKey, subscription: Subscription[SubscriberT]) -> None:
        """Undo `add`; nothing happens to a subscription that is not there."""
        topic = self.topics.get(key)
        if topic is not None:
            topic.subscribers.remove(subscription)

    def close(self, key: TopicKey) -> bool:
        """Forget a topic that nobody needs; False if somebody came back to it."""
        topic = self.topics.get(key)
        if topic is None or not topic.is_idle:
            return False
        topic.forget()
        del self.topics[key]
        return True


def deliver(topic: Topic[SubscriberT], step: Step) -> list[Delivery[SubscriberT]]:
    """Bring a topic's subscribers to where a step leads; the steps of a topic come in order."""
    match step:
        case Publication():
            return _publish(topic, step)
        case Resynced():
            topic.position = step.position
            topic.forget()
            return [
                Delivery(subscribers, [resync_frame(channel.name, step.position)])
                for channel, subscribers in topic.subscribers.everybody()
            ]
        case RosterRead():
            return _replace_roster(topic, step)
        case _:
            assert_never(step)


def resync_frame(channel: str, position: Position) -> bytes:
    """What a subscriber is told that has to read anew."""
    return NativeCodec().encode(Resync(channel, position))


def tell_presence(topic: Topic[SubscriberT]) -> list[Delivery[SubscriberT]]:
    """Tell the subscribers of a presence topic what has changed since the last time."""
    return [] if topic.roster is None else _to_all(topic, topic.roster.news())


def _publish(topic: Topic[SubscriberT], publication: Publication) -> list[Delivery[SubscriberT]]:
    topic.position = Position(publication.epoch, publication.last)
    if topic.replay_cache is not None and not topic.replay_cache.append(publication):
        topic.forget()
    if topic.roster is not None:
        topic.roster.apply(publication.lines)
        return []  # told by `tell_presence`, with what else happens in this moment
    deliveries = []
    made: dict[tuple[str, tuple[int, ...]], list[bytes]] = {}  # pieces by channel and lines
    for channel, numbers, subscribers in topic.subscribers.select(publication):
        what = (channel.name, tuple(numbers))
        if (pieces := made.get(what)) is None:
            pieces = made[what] = joined_pieces(NativeCodec().encode_lines(channel, publication, numbers))
        deliveries.append(Delivery(subscribers, pieces, publication.lines[-1]))
    return deliveries


def _replace_roster(topic: Topic[SubscriberT], step: RosterRead) -> list[Delivery[SubscriberT]]:
    assert topic.roster is not None, "a roster was read"
    topic.position = step.position
    topic.roster.replace(step.members)
    return _to_all(topic, topic.roster.sync()) if step.is_news else []


def _to_all(topic: Topic[SubscriberT], pieces: list[bytes]) -> list[Delivery[SubscriberT]]:
    return [Delivery(subscribers, pieces) for _, subscribers in topic.subscribers.everybody() if pieces]
