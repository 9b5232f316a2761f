"""Which topics of a node other nodes can find, and what is kept from expiring."""

from __future__ import annotations

import pytest

from gateway.presence.change import Change
from gateway.presence.index import KEPT_AT_ONCE, PresenceIndex

KEEP_SECONDS = 100.0
INCARNATION = "n-0"
LOBBY, CLUB = ("demo", "presence:room:lobby"), ("demo", "presence:room:club")


def put(who: str, incarnation: str = INCARNATION) -> Change:
    return Change(f"{incarnation}/{who}", b"{}")


def take(who: str, incarnation: str = INCARNATION) -> Change:
    return Change(f"{incarnation}/{who}", None)


def send(index: PresenceIndex, *changes: Change, now: float = 0.0, topic_key=LOBBY, goes_well=True) -> list:
    """Send changes of one topic as the writer does; returns what was noted and what was vacated."""
    of_topic = {topic_key: changes}
    noted = index.to_note(of_topic)
    index.note(noted)
    index.expect(of_topic)
    return [noted, index.carried_out(of_topic, now) if goes_well else None]


@pytest.fixture
def index() -> PresenceIndex:
    index = PresenceIndex(KEEP_SECONDS)
    index.begin(INCARNATION)
    return index


def test_a_topic_is_noted_before_its_first_entry_and_vacated_after_its_last(index):
    assert send(index, put("a")) == [[LOBBY], []]
    assert send(index, put("b"), put("a")) == [[], []]
    assert send(index, take("a")) == [[], []]
    assert send(index, take("b")) == [[], [LOBBY]]
    assert index.forget([LOBBY, LOBBY]) == [LOBBY]
    assert send(index, put("a")) == [[LOBBY], []], "noted again, since it was forgotten"


def test_a_topic_where_somebody_came_meanwhile_is_not_forgotten(index):
    send(index, put("a"))
    assert send(index, take("a")) == [[], [LOBBY]]
    assert send(index, put("b")) == [[], []]
    assert index.forget([LOBBY]) == []


def test_nobody_is_to_look_where_only_somebody_was_taken_away(index):
    assert send(index, take("a")) == [[], []]


def test_changes_of_one_message_count_in_their_order(index):
    assert send(index, put("a"), take("a")) == [[LOBBY], [LOBBY]]
    assert send(index, put("a"), take("a"), put("a")) == [[], []]
    assert index.forget([LOBBY]) == []


def test_what_may_have_been_carried_out_is_there_until_it_is_taken_away(index):
    send(index, put("a"), goes_well=False)
    assert index.forget([LOBBY]) == []
    send(index, take("a"), goes_well=False)
    assert index.forget([LOBBY]) == []
    assert send(index, take("a")) == [[], [LOBBY]]


def test_a_new_incarnation_knows_nothing_of_the_one_before(index):
    send(index, put("a"))
    index.begin("n-1")
    assert repr(index) == "<PresenceIndex 0 of n-1, 0 noted>"
    assert send(index, put("a"), now=KEEP_SECONDS) == [[], []], "an entry of the incarnation before"
    assert send(index, take("a"), put("a", "n-1"), now=KEEP_SECONDS) == [[LOBBY], []]


def test_nothing_is_remembered_of_a_topic_where_nobody_is(index):
    for number in range(10):
        topic_key = ("demo", f"presence:room:{number}")
        send(index, put("a"), topic_key=topic_key)
        assert send(index, take("a"), topic_key=topic_key) == [[], [topic_key]]
        assert index.forget([topic_key]) == [topic_key]
    assert repr(index) == "<PresenceIndex 0 of n-0, 0 noted>"
    assert index.to_keep(KEEP_SECONDS) == []


def test_a_topic_is_kept_when_it_was_quiet_for_long(index):
    send(index, put("a"), now=0, topic_key=LOBBY)
    send(index, put("a"), now=1, topic_key=CLUB)
    assert index.to_keep(KEEP_SECONDS - 1) == []
    send(index, put("b"), now=2, topic_key=LOBBY)
    assert index.to_keep(KEEP_SECONDS + 1) == [CLUB]
    assert index.to_keep(KEEP_SECONDS + 2) == [LOBBY]
    assert index.to_keep(2 * KEEP_SECONDS) == []
    assert index.to_keep(2 * KEEP_SECONDS + 2) == [CLUB, LOBBY]


def test_many_quiet_topics_are_kept_in_pieces(index):
    many = [("demo", f"presence:room:{number}") for number in range(KEPT_AT_ONCE + 1)]
    for topic_key in many:
        send(index, put("a"), topic_key=topic_key)
    assert index.to_keep(KEEP_SECONDS) == many[:-1]
    assert index.to_keep(KEEP_SECONDS) == many[-1:]
