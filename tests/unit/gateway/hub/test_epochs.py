"""Epochs that name the reign of Redis under which they began: what the hub and clients make of them."""

from __future__ import annotations

import pytest

from gateway.hub.hub import Hub
from gateway.hub.topic import TopicState
from realtime.errors import ClientError
from realtime.publications import Position, Publication, parse_position, replid_of
from tests.hub_fixture import delivered

BEFORE, EXPIRED, AFTER = "a" * 12 + "1" * 8, "b" * 12 + "1" * 8, "c" * 12 + "2" * 8
ROOM, LOBBY = ("demo", "room:a"), ("demo", "presence:room:a")


def state_after(key: tuple[str, str], position: Position, publication: Publication) -> TopicState:
    topic = Hub[str]().open(key)
    begun = topic.caught_up(position) if topic.roster is None else topic.roster_read(position, {})
    delivered(topic, begun)
    assert topic.is_live
    delivered(topic, topic.received(publication))
    return topic.state


@pytest.mark.parametrize("key", [ROOM, LOBBY], ids=lambda key: key[1])
@pytest.mark.parametrize("offset", [0, 7])
def test_a_beginning_under_another_reign_may_hide_what_was_lost(key, offset):
    publication = Publication(AFTER, 1, [b'J1/a {"x":1}'])
    assert state_after(key, Position(BEFORE, offset), publication) is TopicState.BEHIND


@pytest.mark.parametrize("offset", [0, 7])
def test_a_room_that_was_silent_for_long_goes_on_under_the_same_reign(offset):
    publication = Publication(EXPIRED, 1, [b'B"payload":1'])
    assert state_after(ROOM, Position(BEFORE, offset), publication) is TopicState.LIVE


@pytest.mark.parametrize("epoch", ["a" * 12, BEFORE])
def test_a_position_comes_back_as_it_was_given(epoch):
    position = Position(epoch, 12)
    assert parse_position(str(position)) == position


@pytest.mark.parametrize("epoch", ["a" * 11, "a" * 13, "a" * 16, "a" * 19, "a" * 21, "a" * 12 + "G" * 8])
def test_no_other_epoch_is_ever_given(epoch):
    with pytest.raises(ClientError):
        parse_position(f"{epoch}-1")


def test_the_epoch_of_a_table_has_no_reign():
    assert (replid_of("a" * 12), replid_of(BEFORE)) == ("", "1" * 8)
