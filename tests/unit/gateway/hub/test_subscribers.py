"""Who gets which line: by kind of event, and without what a connection broadcast with `self: false`."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass

import pytest

from gateway.hub.hub import deliver
from gateway.hub.replay_cache import ReplayBudget, ReplayCache
from gateway.hub.subscribers import Selector, Subscribers, Subscription, subscription
from gateway.hub.topic import Resynced, Topic
from realtime.channels import Event, parse_channel
from realtime.publications import Position, Publication, Sender, broadcast_line
from tests.hub_fixture import NATIVE, line, payloads

ROOM = parse_channel("room:a")
USERS = parse_channel("table:users")


def said(who: str, to_self: bool) -> bytes:
    return broadcast_line(b"1", Sender(who, None), "2024", to_self)


def chosen(publication: Publication, *subscriptions: Subscription[str]) -> dict[str, list[int]]:
    """The numbers of the lines that each subscriber gets, by `select`."""
    subscribers: Subscribers[str] = Subscribers()
    for each in subscriptions:
        subscribers.add(each)
    got: dict[str, list[int]] = defaultdict(list)
    for selection in subscribers.select(publication):
        assert selection.numbers
        assert selection.subscribers
        for subscriber in selection.subscribers:
            assert subscriber not in got
            got[subscriber] += selection.numbers
    return dict(got)


def test_a_channel_without_a_kind_of_event_gets_all_lines():
    lines = [line(event) for event in Event]
    assert chosen(Publication("e", 7, lines), subscription("ann", USERS, "ann", NATIVE)) == {"ann": [0, 1, 2]}


@pytest.mark.parametrize(("number", "event"), list(enumerate(Event)))
def test_a_kind_of_event_chooses_its_lines_alone(number, event):
    lines = [line(each) for each in (*Event, *Event)]
    ann = subscription("ann", parse_channel(f"table:users:{event}"), "ann", NATIVE)
    assert chosen(Publication("e", 7, lines), ann) == {"ann": [number, number + 3]}
    assert ann.selector.select(Publication("e", 7, lines)) == [number, number + 3]


def test_who_gets_nothing_is_not_chosen():
    ann, bob = (subscription(who, parse_channel(f"table:users:{event}"), who, NATIVE) for who, event in NAMES)
    assert chosen(Publication("e", 1, [line(Event.INSERT)]), ann, bob) == {"ann": [0]}
    assert chosen(Publication("e", 1, []), ann, bob) == {}


NAMES = [("ann", Event.INSERT), ("bob", Event.DELETE)]


def test_what_one_broadcasts_not_to_itself_is_for_the_others():
    publication = Publication("e", 1, [said("ann", True), said("ann", False), said("bob", False)])
    everybody = [subscription(who, ROOM, who, NATIVE) for who in ("ann", "bob", "cat")]
    assert chosen(publication, *everybody) == {"ann": [0, 2], "bob": [0, 1], "cat": [0, 1, 2]}


def test_a_sender_alone_in_a_room_is_not_chosen():
    publication = Publication("e", 1, [said("ann", False)])
    assert chosen(publication, subscription("ann", ROOM, "ann", NATIVE)) == {}


def test_who_left_is_not_chosen_whatever_it_had_said():
    subscribers: Subscribers[str] = Subscribers()
    ann, bob = (subscription(who, ROOM, who, NATIVE) for who in ("ann", "bob"))
    for each in (ann, bob):
        subscribers.add(each)
    subscribers.remove(ann)
    subscribers.remove(ann)
    (selection,) = subscribers.select(Publication("e", 1, [said("ann", False)]))
    assert (list(selection.subscribers), repr(subscribers)) == (["bob"], "<Subscribers 1 in 1 audiences>")


def test_what_a_subscriber_got_is_known_without_counting_for_each():
    topic: Topic[str] = Topic(ROOM.topic)
    ann, bob = (subscription(who, ROOM, who, NATIVE) for who in ("ann", "bob"))
    assert topic.subscribers.messages_to(ann) == 0
    topic.subscribers.add(ann)
    deliver(topic, Publication("e", 1, [said("cat", True)] * 3))
    topic.subscribers.add(bob)
    topic.subscribers.add(ann)  # again, which begins nothing anew
    deliver(topic, Publication("e", 4, [said("ann", True), said("ann", False)]))
    deliver(topic, Resynced(Position("f", 0)))
    assert [topic.subscribers.messages_to(each) for each in (ann, bob)] == [5, 3]
    assert topic.subscribers.messages == 8
    assert [topic.subscribers.remove(ann), topic.subscribers.remove(ann)] == [5, 0]
    deliver(topic, Publication("f", 1, [said("cat", True)]))
    assert topic.subscribers.remove(bob) == 4
    assert topic.subscribers.messages == 9, "those of who left stay"
    topic.subscribers.add(ann)
    assert topic.subscribers.messages_to(ann) == 0


@dataclass(frozen=True)
class Contains:
    """A condition as a filter would be: it looks at the text."""

    text: bytes

    def is_met(self, line: bytes) -> bool:
        return self.text in line


def filtered(who: str, text: bytes) -> Subscription[str]:
    return Subscription(who, USERS, Selector((Contains(text),)), NATIVE)


def test_another_condition_is_asked_by_live_delivery_and_replay_alike():
    publication = Publication("e", 1, [line(Event.INSERT), line(Event.DELETE), line(Event.INSERT)])
    inserts = filtered("ann", b"INSERT")
    assert chosen(publication, inserts, filtered("bob", b"DELETE")) == {"ann": [0, 2], "bob": [1]}
    cache = ReplayCache(Position("e", 0), 100, ReplayBudget(10**9))
    cache.append(publication)
    pieces, reached = cache.slice(inserts, 0)
    assert [message["id"] for message in payloads(b"".join(pieces))] == ["e-1", "e-3"]
    assert reached == 3


def test_frames_are_made_once_for_all_who_get_the_same_lines():
    topic: Topic[str] = Topic(USERS.topic)
    for who, text in [("ann", b"INSERT"), ("bob", b"INSERT"), ("cat", b"users"), ("dan", b"DELETE")]:
        topic.subscribers.add(filtered(who, text))
    deliveries = deliver(topic, Publication("e", 1, [line(Event.INSERT)]))
    assert sorted(who for each in deliveries for who in each.subscribers) == ["ann", "bob", "cat"]
    assert len({id(each.pieces) for each in deliveries}) == 1


@pytest.mark.parametrize("seed", range(20))
def test_live_and_replay_choose_the_same_for_anybody(seed):
    chance, names = random.Random(seed), ["ann", "bob", "cat"]
    lines = [said(chance.choice(names), chance.random() < 0.5) for _ in range(30)]
    publication = Publication("e", 1, lines)
    everybody = [subscription(who, ROOM, who, NATIVE) for who in names]
    cache = ReplayCache(Position("e", 0), 100, ReplayBudget(10**9))
    cache.append(publication)
    live = chosen(publication, *everybody)
    for each in everybody:
        pieces, _ = cache.slice(each, 0)
        ids = [message["id"] for message in payloads(b"".join(pieces))]
        assert ids == [f"e-{number + 1}" for number in live[each.subscriber]]
