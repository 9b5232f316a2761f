"""Who listens to what, and what each is to be sent.

Sessions and the Redis subscription tell it what happened; it answers with deliveries and leaves the
doing to them. A topic is LIVE while every message of it is known to arrive; else what arrives is held
back until history has filled the hole. Never awaits, never touches a socket.

    JOINING ──caught up──▶ LIVE ──gap or lost connection──▶ BEHIND ──caught up──▶ LIVE
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Generic, TypeVar

from gateway.hub.replay_cache import LINE_BYTES, ReplayCache
from gateway.hub.roster import Roster
from gateway.wire.frames import excluded_by, message_pieces, text_frame
from gateway.wire.native import Resync, encode
from realtime.channels import Channel, TopicKey, is_presence_topic, is_table_topic
from realtime.publications import Position, Publication, reign_of

SocketT = TypeVar("SocketT", bound=Hashable)

# Held back of one topic while history is read; beyond it the oldest go, and history is read again.
MAX_HELD_PUBLICATIONS = 1_000
MAX_HELD_BYTES = 16 * 1024 * 1024

NOWHERE = Position("", 0)


class TopicState(Enum):
    """Whether the messages of a topic are known to arrive."""

    JOINING = auto()  # never was live
    LIVE = auto()
    BEHIND = auto()  # was live, and may have missed something


@dataclass(frozen=True, slots=True)
class Delivery(Generic[SocketT]):
    """Pieces of frames that all these sockets are to be sent, in order.

    `apart` has other pieces for single connections, by id: who broadcasts may not want to hear itself.
    """

    sockets: Collection[SocketT]
    pieces: list[bytes]
    apart: Mapping[str, list[bytes]] = field(default_factory=dict)
    line: bytes | None = None  # its last message as it came; None of presence and `resync`


@dataclass(slots=True)
class Audience(Generic[SocketT]):
    """The sockets that subscribed to a topic by one spelling, and so get the same frames."""

    channel: Channel
    sockets: set[SocketT] = field(default_factory=set)


@dataclass(slots=True)
class Topic(Generic[SocketT]):
    """One stream of messages, and everyone on this node who listens to it."""

    state: TopicState = TopicState.JOINING
    position: Position = NOWHERE  # of the last message handed on; means nothing while JOINING
    audiences: dict[str, Audience[SocketT]] = field(default_factory=dict)  # by channel name
    held: list[Publication] = field(default_factory=list)  # came while not LIVE, by this connection to Redis
    held_bytes: int = 0
    memory: ReplayCache | None = None  # for those who come back; up to `position`, if there is one
    joiners: int = 0  # sockets on their way in, for whom the topic must stay
    roster: Roster | None = None  # of a presence topic

    @property
    def is_live(self) -> bool:
        return self.state is TopicState.LIVE

    @property
    def is_idle(self) -> bool:
        return not self.audiences and not self.joiners

    def forget(self) -> None:
        """Let go of what is remembered: history is asked again."""
        if self.memory is not None:
            self.memory.close()
            self.memory = None

    def fall_behind(self) -> None:
        """A LIVE topic may have missed something, and what Redis has of it may not be what it had."""
        self.state = TopicState.BEHIND
        self.forget()

    def hold(self, publication: Publication) -> None:
        """Keep what came while not LIVE. The last always stays: without it nobody would see the hole."""
        self.held.append(publication)
        self.held_bytes += _size(publication)
        while len(self.held) > 1 and (
            len(self.held) > MAX_HELD_PUBLICATIONS or self.held_bytes > MAX_HELD_BYTES
        ):
            del self.held[: len(self.held) // 2]
            self.held_bytes = sum(map(_size, self.held))

    def shed(self) -> None:
        """Keep of what is held the last alone, which shows the hole: history is read again."""
        if len(self.held) > 1:
            del self.held[:-1]
            self.held_bytes = _size(self.held[0])

    def release(self) -> list[Publication]:
        """Return what was held, and hold it no more."""
        held, self.held, self.held_bytes = self.held, [], 0
        return held


class Hub(Generic[SocketT]):
    """All topics of a node. What it returns is left to be done, in order."""

    def __init__(self) -> None:
        self.topics: dict[TopicKey, Topic[SocketT]] = {}

    def __repr__(self) -> str:
        audiences = [one for topic in self.topics.values() for one in topic.audiences.values()]
        return f"<Hub {len(self.topics)} topics, {sum(len(one.sockets) for one in audiences)} subscriptions>"

    def open(self, key: TopicKey) -> Topic[SocketT]:
        """Return the topic, which begins as JOINING."""
        topic = self.topics.get(key)
        if topic is None:
            roster = Roster(key[1]) if is_presence_topic(key[1]) else None
            topic = self.topics[key] = Topic(roster=roster)
        return topic

    def add(self, key: TopicKey, channel: Channel, socket: SocketT) -> None:
        """Let a socket hear the next message of a LIVE topic, and all after it."""
        topic = self.topics[key]
        topic.audiences.setdefault(channel.name, Audience(channel)).sockets.add(socket)

    def remove(self, key: TopicKey, channel: Channel, socket: SocketT) -> None:
        """Undo `add`; nothing happens to a socket that is not there."""
        topic = self.topics.get(key)
        audience = topic and topic.audiences.get(channel.name)
        if topic is None or not audience:
            return
        audience.sockets.discard(socket)
        if not audience.sockets:
            del topic.audiences[channel.name]

    def close(self, key: TopicKey) -> bool:
        """Forget a topic that nobody needs; False if somebody came back to it."""
        topic = self.topics.get(key)
        if topic is None or not topic.is_idle:
            return False
        topic.forget()
        del self.topics[key]
        return True

    def received(self, key: TopicKey, publication: Publication) -> list[Delivery[SocketT]]:
        """Take in what Redis published. A topic that turns BEHIND by it has to be caught up."""
        topic = self.topics.get(key)
        if topic is None:
            return []
        if topic.state is not TopicState.LIVE:
            topic.hold(publication)
            return []
        has_state = is_table_topic(key[1]) or (topic.roster is not None and not topic.roster.is_empty)
        if _follows(topic.position, publication, has_state):
            return _hand_on(topic, publication)
        if publication.epoch == topic.position.epoch and publication.last <= topic.position.offset:
            return []  # history brought it before
        topic.fall_behind()  # not held: history has it by now, or another one has begun
        return []

    def fell_behind(self, keys: Iterable[TopicKey]) -> None:
        """A subscription to Redis was lost: its LIVE topics may have missed something from here on."""
        for key in keys:
            topic = self.topics[key]
            topic.release()  # history has it, or Redis lost it: then it must not come after the `resync`
            if topic.is_live:
                topic.fall_behind()

    def doubt_rosters(self) -> list[TopicKey]:
        """Redis may have lost who is present: make the LIVE presence topics BEHIND, and return them."""
        doubtful = [key for key, topic in self.topics.items() if topic.roster is not None and topic.is_live]
        for key in doubtful:
            self.topics[key].fall_behind()
        return doubtful

    def missed(self, key: TopicKey, page: list[Publication]) -> list[Delivery[SocketT]]:
        """Hand on a part of what a BEHIND topic missed, which follows its position; it stays BEHIND."""
        topic = self.topics.get(key)
        if topic is None or topic.state is not TopicState.BEHIND:
            return []
        return [each for publication in page for each in _hand_on(topic, publication)]

    def caught_up(
        self, key: TopicKey, position: Position, missed: list[Publication] | None
    ) -> list[Delivery[SocketT]]:
        """Make a topic LIVE at `position`, after it got what it missed; None: history does not reach.

        It may be BEHIND again afterwards, when what was held back has a hole of its own.
        """
        topic = self.topics.get(key)
        if topic is None or topic.state is TopicState.LIVE:
            return []
        was_behind, topic.state = topic.state is TopicState.BEHIND, TopicState.LIVE
        deliveries: list[Delivery[SocketT]] = []
        if missed is None:
            topic.forget()
            deliveries = _resync(topic, position) if was_behind else []
        elif was_behind:
            deliveries = [each for publication in missed for each in _hand_on(topic, publication)]
        if missed is None or not was_behind:
            topic.position = position  # else history may have brought more than was asked for
        return deliveries + self._go_on(key, topic)

    def _go_on(self, key: TopicKey, topic: Topic[SocketT]) -> list[Delivery[SocketT]]:
        """Hand on what was held back of a topic that has just turned LIVE."""
        deliveries: list[Delivery[SocketT]] = []
        for publication in topic.release():
            if publication.epoch != topic.position.epoch:
                topic.fall_behind()  # which of the two epochs is over is not known here: Redis is asked again
            else:
                deliveries += self.received(key, publication)
            if not topic.is_live:
                break  # the rest came before history is read again
        return deliveries

    def roster_read(
        self, key: TopicKey, position: Position, members: dict[bytes, bytes]
    ) -> list[Delivery[SocketT]]:
        """Make a presence topic LIVE as it is in Redis at `position`; who was subscribed gets it anew."""
        topic = self.topics.get(key)
        if topic is None or topic.is_live or topic.roster is None:
            return []
        topic.roster.replace(members)
        was_behind, topic.state, topic.position = topic.state is TopicState.BEHIND, TopicState.LIVE, position
        self._go_on(key, topic)
        if not was_behind:
            return []
        topic.roster.news()  # is in what follows
        return _to_all(topic, topic.roster.sync())

    def tell_presence(self, key: TopicKey) -> list[Delivery[SocketT]]:
        """Tell the subscribers of a presence topic what has changed since the last time."""
        topic = self.topics.get(key)
        if topic is None or topic.roster is None:
            return []
        return _to_all(topic, topic.roster.news())


def _to_all(topic: Topic[SocketT], pieces: list[bytes]) -> list[Delivery[SocketT]]:
    return [Delivery(audience.sockets, pieces) for audience in topic.audiences.values() if pieces]


def _follows(position: Position, publication: Publication, has_state: bool) -> bool:
    """Whether nothing lies between; parts of the publication may have been there before.

    A new epoch of a topic whose messages add up to a state means that Redis lost that state. A publication
    without lines says so of any topic: it begins an epoch since something was lost before it.
    """
    if publication.epoch == position.epoch:
        return publication.first <= position.offset + 1 <= publication.last
    if reign_of(publication.epoch) != reign_of(position.epoch):
        return False  # Redis may have lost what came between
    # Redis forgot the epoch of a topic that was quiet, or where nobody was present, for a while.
    return publication.first == 1 and bool(publication.lines) and (position.offset == 0 or not has_state)


def _size(publication: Publication) -> int:
    return sum(len(line) + LINE_BYTES for line in publication.lines)


def _hand_on(topic: Topic[SocketT], publication: Publication) -> list[Delivery[SocketT]]:
    if publication.epoch == topic.position.epoch:
        publication = publication.after(topic.position.offset)
    topic.position = Position(publication.epoch, publication.last)
    if topic.memory is not None and not topic.memory.append(publication):
        topic.forget()
    if topic.roster is not None:
        topic.roster.apply(publication.lines)
        return []  # told by `tell_presence`, with what else happens in this moment
    deliveries = []
    for audience in topic.audiences.values():
        apart = {
            connection_id: message_pieces(audience.channel, publication, connection_id)
            for connection_id in (() if audience.channel.table else excluded_by(publication))
        }
        if (pieces := message_pieces(audience.channel, publication)) or apart:
            deliveries.append(Delivery(audience.sockets, pieces, apart, publication.lines[-1]))
    return deliveries


def _resync(topic: Topic[SocketT], position: Position) -> list[Delivery[SocketT]]:
    return [
        Delivery(audience.sockets, [text_frame(encode(Resync(channel=name, position=str(position))))])
        for name, audience in topic.audiences.items()
    ]
