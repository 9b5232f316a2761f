"""What survivors are told of where a node has people, and what is kept from expiring."""

from __future__ import annotations

import pytest

from gateway.presence.change import Change
from gateway.presence.index import KEPT_AT_ONCE, PresenceIndex

KEEP_SECONDS = 100.0
LIFE = "n-0"
LOBBY, CLUB = ("demo", "presence:room:lobby"), ("demo", "presence:room:club")


def put(who: str, life: str = LIFE) -> Change:
    return Change(f"{life}/{who}", b"{}")


def take(who: str, life: str = LIFE) -> Change:
    return Change(f"{life}/{who}", None)


def send(places: PresenceIndex, *changes: Change, now: float = 0.0, place=LOBBY, goes_well=True) -> list:
    """Send changes of one place as the writer does; returns what was noted and what was vacated."""
    of_place = {place: changes}
    noted = places.to_note(of_place)
    places.note(noted)
    places.expect(of_place)
    return [noted, places.carried_out(of_place, now) if goes_well else None]


@pytest.fixture
def places() -> PresenceIndex:
    places = PresenceIndex(KEEP_SECONDS)
    places.begin(LIFE)
    return places


def test_a_place_is_noted_before_its_first_entry_and_vacated_after_its_last(places):
    assert send(places, put("a")) == [[LOBBY], []]
    assert send(places, put("b"), put("a")) == [[], []]
    assert send(places, take("a")) == [[], []]
    assert send(places, take("b")) == [[], [LOBBY]]
    assert places.forget([LOBBY, LOBBY]) == [LOBBY]
    assert send(places, put("a")) == [[LOBBY], []], "noted again, since it was forgotten"


def test_a_place_where_somebody_came_meanwhile_is_not_forgotten(places):
    send(places, put("a"))
    assert send(places, take("a")) == [[], [LOBBY]]
    assert send(places, put("b")) == [[], []]
    assert places.forget([LOBBY]) == []


def test_nobody_is_to_look_where_only_somebody_was_taken_away(places):
    assert send(places, take("a")) == [[], []]


def test_changes_of_one_message_count_in_their_order(places):
    assert send(places, put("a"), take("a")) == [[LOBBY], [LOBBY]]
    assert send(places, put("a"), take("a"), put("a")) == [[], []]
    assert places.forget([LOBBY]) == []


def test_what_may_have_been_carried_out_is_there_until_it_is_taken_away(places):
    send(places, put("a"), goes_well=False)
    assert places.forget([LOBBY]) == []
    send(places, take("a"), goes_well=False)
    assert places.forget([LOBBY]) == []
    assert send(places, take("a")) == [[], [LOBBY]]


def test_a_new_life_knows_nothing_of_the_one_before(places):
    send(places, put("a"))
    places.begin("n-1")
    assert repr(places) == "<PresenceIndex 0 of n-1, 0 noted>"
    assert send(places, put("a"), now=KEEP_SECONDS) == [[], []], "an entry of the life before"
    assert send(places, take("a"), put("a", "n-1"), now=KEEP_SECONDS) == [[LOBBY], []]


def test_nothing_is_remembered_of_a_place_where_nobody_is(places):
    for number in range(10):
        place = ("demo", f"presence:room:{number}")
        send(places, put("a"), place=place)
        assert send(places, take("a"), place=place) == [[], [place]]
        assert places.forget([place]) == [place]
    assert repr(places) == "<PresenceIndex 0 of n-0, 0 noted>"
    assert places.to_keep(KEEP_SECONDS) == []


def test_a_place_is_kept_when_it_was_quiet_for_long(places):
    send(places, put("a"), now=0, place=LOBBY)
    send(places, put("a"), now=1, place=CLUB)
    assert places.to_keep(KEEP_SECONDS - 1) == []
    send(places, put("b"), now=2, place=LOBBY)
    assert places.to_keep(KEEP_SECONDS + 1) == [CLUB]
    assert places.to_keep(KEEP_SECONDS + 2) == [LOBBY]
    assert places.to_keep(2 * KEEP_SECONDS) == []
    assert places.to_keep(2 * KEEP_SECONDS + 2) == [CLUB, LOBBY]


def test_many_quiet_places_are_kept_in_pieces(places):
    many = [("demo", f"presence:room:{number}") for number in range(KEPT_AT_ONCE + 1)]
    for place in many:
        send(places, put("a"), place=place)
    assert places.to_keep(KEEP_SECONDS) == many[:-1]
    assert places.to_keep(KEEP_SECONDS) == many[-1:]
