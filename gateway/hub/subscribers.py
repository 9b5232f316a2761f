"""Chooses which subscriber gets which line, for live delivery, catching up and replay alike.

A subscription is a subscriber, its codec, a channel and a selector. Subscriptions to one channel by one codec
whose selectors have the same conditions form an audience: they get the same lines, and so the same frames.
A new reason to leave out a line is one more condition. `wire` encodes the chosen lines into frames.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

from gateway.wire.codec import Codec
from realtime.channels import Channel, Event
from realtime.publications import EVENT_OF_MARK, NOT_TO_SENDER, Publication

SubscriberT = TypeVar("SubscriberT", bound=Hashable)

Lines = Sequence[int]  # numbers of lines within a publication, in order


class Condition(Hashable, Protocol):
    """A test that a line must pass; equal conditions select the same lines."""

    def is_met(self, line: bytes) -> bool: ...


@dataclass(frozen=True, slots=True)
class OfEvent:
    """The line is a change of one kind of event."""

    event: Event

    def is_met(self, line: bytes) -> bool:
        return EVENT_OF_MARK[line[0]] is self.event


@dataclass(frozen=True, slots=True)
class Selector:
    """Chooses lines that meet all conditions, except those that `reader` broadcast with `self: false`."""

    conditions: tuple[Condition, ...] = ()
    reader: str | None = None  # a connection; None: no line is left out for a reader

    @property
    def shared(self) -> Selector:
        """The selector of the whole audience; only `reader` may get fewer lines."""
        return Selector(self.conditions)

    def select(self, publication: Publication) -> Lines:
        """Return the numbers of the chosen lines."""
        lines = publication.lines
        numbers: Lines = range(len(lines))
        for condition in self.conditions:
            numbers = [number for number in numbers if condition.is_met(lines[number])]
        if self.reader is not None:
            numbers = [number for number in numbers if _excluded(lines[number]) != self.reader]
        return numbers


@dataclass(frozen=True, slots=True)
class Subscription(Generic[SubscriberT]):
    """A subscriber of a channel, the selector of its lines, and the codec of its protocol."""

    subscriber: SubscriberT
    channel: Channel
    selector: Selector
    codec: Codec

    @property
    def audience(self) -> Hashable:
        """A key that is equal for all subscriptions that share frames."""
        return self.codec, self.channel.name, self.selector.conditions


def subscription(
    subscriber: SubscriberT, channel: Channel, connection_id: str, codec: Codec
) -> Subscription[SubscriberT]:
    """Build the subscription of a connection to all lines that a channel's name stands for."""
    conditions = (OfEvent(channel.event),) if channel.event is not None else ()
    reader = None if channel.table is not None else connection_id  # a change has no sender
    return Subscription(subscriber, channel, Selector(conditions, reader), codec)


class Selection(NamedTuple, Generic[SubscriberT]):
    """The lines chosen for these subscribers; at least one line and one subscriber."""

    codec: Codec
    channel: Channel
    numbers: Lines
    subscribers: Collection[SubscriberT]
    members: object = None  # equal only while the subscribers are the same; None: chosen for one publication


@dataclass(slots=True)
class Audience(Generic[SubscriberT]):
    """The subscribers of one channel by one codec whose selectors have the same conditions."""

    codec: Codec
    channel: Channel
    selector: Selector
    # Each with the value of `messages` at which it joined: so no delivery has to count for each subscriber.
    subscribers: dict[SubscriberT, int] = field(default_factory=dict)
    members: object = field(default_factory=object)  # another one whenever somebody comes or goes
    readers: dict[str, Subscription[SubscriberT]] = field(default_factory=dict)  # a line may exclude these
    messages: int = 0  # chosen for the whole audience so far
    marks: int = 0  # the sum of the values of `subscribers`

    @property
    def delivered(self) -> int:
        """Messages that were chosen for those who are subscribed now, counted for each of them."""
        return self.messages * len(self.subscribers) - self.marks

    def select(self, publication: Publication) -> list[Selection[SubscriberT]]:
        """Choose once for most subscribers, and apart for each subscriber that a line excludes."""
        numbers = self.selector.select(publication)
        self.messages += len(numbers)
        if self.readers and (excluded := excluded_readers(publication).intersection(self.readers)):
            return self._select_apart(publication, [self.readers[reader] for reader in excluded])
        if not numbers:
            return []
        return [Selection(self.codec, self.channel, numbers, self.subscribers, self.members)]

    def _select_apart(
        self, publication: Publication, apart: list[Subscription[SubscriberT]]
    ) -> list[Selection[SubscriberT]]:
        others = self.subscribers.keys() - {one.subscriber for one in apart}
        whole = self._selection(self.selector, publication, others)
        choices = [whole] if others else []
        for one in apart:
            choices.append(self._selection(one.selector, publication, (one.subscriber,)))
            fewer = len(whole.numbers) - len(choices[-1].numbers)
            self.subscribers[one.subscriber] += fewer
            self.marks += fewer
        return [choice for choice in choices if choice.numbers]

    def _selection(
        self, selector: Selector, publication: Publication, subscribers: Collection[SubscriberT]
    ) -> Selection[SubscriberT]:
        return Selection(self.codec, self.channel, selector.select(publication), subscribers)


class Subscribers(Generic[SubscriberT]):
    """All subscriptions to one topic."""

    __slots__ = ("_audiences", "_left_messages")

    def __init__(self) -> None:
        self._audiences: dict[Hashable, Audience[SubscriberT]] = {}
        self._left_messages = 0  # that subscriptions had got which have ended

    def __repr__(self) -> str:
        return f"<Subscribers {len(self)} in {len(self._audiences)} audiences>"

    def __len__(self) -> int:
        return sum(len(audience.subscribers) for audience in self._audiences.values())

    def __bool__(self) -> bool:
        return bool(self._audiences)

    def add(self, subscription: Subscription[SubscriberT]) -> None:
        """Add a subscription; adding it twice is harmless."""
        audience = self._audiences.get(subscription.audience)
        if audience is None:
            audience = Audience(subscription.codec, subscription.channel, subscription.selector.shared)
            self._audiences[subscription.audience] = audience
        if subscription.subscriber not in audience.subscribers:
            audience.subscribers[subscription.subscriber] = audience.messages
            audience.members = object()
            audience.marks += audience.messages
        if subscription.selector.reader is not None:
            audience.readers[subscription.selector.reader] = subscription

    def remove(self, subscription: Subscription[SubscriberT]) -> int:
        """Undo `add`, and return how many messages were chosen for it; an unknown subscription is ignored."""
        audience = self._audiences.get(subscription.audience)
        if audience is None:
            return 0
        messages = self.messages_to(subscription)
        self._left_messages += messages
        audience.marks -= audience.subscribers.pop(subscription.subscriber, 0)
        audience.members = object()
        if subscription.selector.reader is not None:
            audience.readers.pop(subscription.selector.reader, None)
        if not audience.subscribers:
            del self._audiences[subscription.audience]
        return messages

    def messages_to(self, subscription: Subscription[SubscriberT]) -> int:
        """Return how many messages were chosen for a subscription so far; 0 for an unknown one."""
        audience = self._audiences.get(subscription.audience)
        if audience is None or subscription.subscriber not in audience.subscribers:
            return 0
        return audience.messages - audience.subscribers[subscription.subscriber]

    def select(self, publication: Publication) -> list[Selection[SubscriberT]]:
        """Choose who gets which lines; a subscriber appears at most once for each audience."""
        return [choice for audience in self._audiences.values() for choice in audience.select(publication)]

    @property
    def messages(self) -> int:
        """Messages of all subscriptions so far, counted for each; it costs nothing for each subscriber."""
        return self._left_messages + sum(audience.delivered for audience in self._audiences.values())

    @property
    def audiences(self) -> Collection[Audience[SubscriberT]]:
        """All audiences, for a message that concerns the whole topic."""
        return self._audiences.values()


def excluded_readers(publication: Publication) -> set[str]:
    """Return the connections that broadcast some of these lines with `self: false`."""
    excluded = {_excluded(line) for line in publication.lines if line[:1] == NOT_TO_SENDER}
    return {reader for reader in excluded if reader is not None}


def _excluded(line: bytes) -> str | None:
    """Return the connection that does not get the line; None: all connections get it."""
    return line[1 : line.index(b" ")].decode() if line[:1] == NOT_TO_SENDER else None
