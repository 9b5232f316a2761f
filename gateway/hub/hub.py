"""All topics of a node, and what each subscriber of a topic gets.

A topic orders its publications as steps; the hub turns each step into deliveries, and `delivery` sends them.
The subscribers of a topic choose the lines, and each choice is encoded into frames once. The hub never awaits
and never touches a socket.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Generic, assert_never

from gateway.hub.subscribers import Audience, SubscriberT, Subscription
from gateway.hub.topic import MAX_HELD_BYTES, Resynced, RosterRead, Step, Topic
from gateway.wire.codec import Codec
from gateway.wire.events import Resync, ServerEvent
from gateway.wire.frames import joined_pieces
from realtime.channels import TopicKey
from realtime.publications import Position, Publication


@dataclass(frozen=True, slots=True)
class Delivery(Generic[SubscriberT]):
    """Pieces of frames to send, in order, to each of these subscribers."""

    subscribers: Collection[SubscriberT]
    pieces: list[bytes]
    messages: int  # in these pieces
    line: bytes | None = None  # the publication's last message, as it came; None for presence and `resync`
    members: object = None  # equal only while the subscribers are the same; None: of this delivery alone


class Hub(Generic[SubscriberT]):
    """All topics of a node, by project and name."""

    def __init__(self, max_held_bytes: int = MAX_HELD_BYTES) -> None:
        self._max_held_bytes = max_held_bytes  # of one topic, while history is read
        self.topics: dict[TopicKey, Topic[SubscriberT]] = {}
        self.closed_messages: Counter[str] = Counter()  # of topics that were closed, by project

    def __repr__(self) -> str:
        subscriptions = sum(len(topic.subscribers) for topic in self.topics.values())
        return f"<Hub {len(self.topics)} topics, {subscriptions} subscriptions>"

    @property
    def held_bytes(self) -> int:
        """Bytes of the publications and steps that all topics hold until they can be delivered."""
        return sum(topic.held_bytes + topic.queued_bytes for topic in self.topics.values())

    @property
    def roster_bytes(self) -> int:
        """Bytes of the presence entries of all open topics of this node."""
        rosters = (topic.roster for topic in self.topics.values())
        return sum(roster.size for roster in rosters if roster is not None)

    def shed(self) -> None:
        """Drop held publications that can be read from history again."""
        for topic in self.topics.values():
            topic.shed()

    def open(self, key: TopicKey) -> Topic[SubscriberT]:
        """Return the topic of a key; a new topic begins as JOINING."""
        topic = self.topics.get(key)
        if topic is None:
            topic = self.topics[key] = Topic(key[1], self._max_held_bytes)
        return topic

    def add(self, key: TopicKey, subscription: Subscription[SubscriberT]) -> None:
        """Subscribe to an open topic, from the next message that the topic delivers."""
        self.topics[key].subscribers.add(subscription)

    def remove(self, key: TopicKey, subscription: Subscription[SubscriberT]) -> int:
        """Undo `add`, and return how many messages the subscriber got; ignore an unknown subscription."""
        topic = self.topics.get(key)
        return 0 if topic is None else topic.subscribers.remove(subscription)

    def messages_to(self, key: TopicKey, subscription: Subscription[SubscriberT]) -> int:
        """Return how many messages a subscriber got since `add`; replays do not count."""
        topic = self.topics.get(key)
        return 0 if topic is None else topic.subscribers.messages_to(subscription)

    def close(self, key: TopicKey) -> bool:
        """Remove a topic that nobody uses; False if the topic is unknown or in use again."""
        topic = self.topics.get(key)
        if topic is None or not topic.is_idle:
            return False
        topic.forget()
        self.closed_messages[key[0]] += topic.subscribers.messages
        del self.topics[key]
        return True


def deliver(topic: Topic[SubscriberT], step: Step) -> list[Delivery[SubscriberT]]:
    """Apply one step to a topic and return its deliveries; the caller passes the steps in order."""
    match step:
        case Publication():
            return _publish(topic, step)
        case Resynced():
            topic.position = step.position
            topic.forget()
            return [
                _to_audience(one, [one.codec.encode(Resync(one.channel.name, step.position))])
                for one in topic.subscribers.audiences
            ]
        case RosterRead():
            return _replace_roster(topic, step)
        case _:
            assert_never(step)


def presence_deliveries(topic: Topic[SubscriberT]) -> list[Delivery[SubscriberT]]:
    """Return deliveries of all presence changes of a topic since the last call."""
    return [] if topic.roster is None else _to_all(topic, topic.roster.news())


def _publish(topic: Topic[SubscriberT], publication: Publication) -> list[Delivery[SubscriberT]]:
    topic.position = Position(publication.epoch, publication.last)
    if topic.replay_cache is not None and not topic.replay_cache.append(publication):
        topic.forget()
    if topic.roster is not None:
        topic.roster.apply(publication.lines)
        return []  # `presence_deliveries` sends these changes together with others of the same moment
    deliveries = []
    made: dict[tuple[Codec, str, tuple[int, ...]], list[bytes]] = {}  # by codec, channel and lines
    for codec, channel, numbers, subscribers, members in topic.subscribers.select(publication):
        what = (codec, channel.name, tuple(numbers))
        if (pieces := made.get(what)) is None:
            pieces = made[what] = joined_pieces(codec.encode_lines(channel, publication, numbers))
        deliveries.append(Delivery(subscribers, pieces, len(numbers), publication.lines[-1], members))
    return deliveries


def _replace_roster(topic: Topic[SubscriberT], step: RosterRead) -> list[Delivery[SubscriberT]]:
    assert topic.roster is not None, "a roster was read"
    topic.position = step.position
    topic.roster.replace(step.members)
    return _to_all(topic, topic.roster.sync()) if step.is_news else []


def _to_all(topic: Topic[SubscriberT], events: Sequence[ServerEvent]) -> list[Delivery[SubscriberT]]:
    """Return deliveries of events to all subscribers, encoded once for each codec."""
    if not events:
        return []
    audiences = topic.subscribers.audiences
    frames = {codec: [codec.encode(each) for each in events] for codec in {one.codec for one in audiences}}
    return [_to_audience(one, frames[one.codec]) for one in audiences]


def _to_audience(audience: Audience[SubscriberT], frames: list[bytes]) -> Delivery[SubscriberT]:
    """Return the delivery of events, a frame each, to all subscribers of an audience."""
    audience.messages += len(frames)
    return Delivery(audience.subscribers, frames, len(frames), members=audience.members)
