"""What is remembered for clients that come back, and what is read of history next."""

from __future__ import annotations

import json
import random

import pytest

from gateway import recollection
from gateway.recollection import Reach, Recollection, Room
from realtime.channels import Event, Table, parse_channel
from realtime.publications import (
    Position,
    Publication,
    Sender,
    broadcast_line,
    change_line,
    line_prefix,
)
from tests.unit.test_frames import messages

USERS = Table("public", "users")
CHANNEL, INSERTS = parse_channel("table:users"), parse_channel("table:public.users:INSERT")
ROOM = parse_channel("room:a")
EVENTS = list(Event)
FOR_EVER = 10**6  # entries of history


def line(offset: int, pad: str = "") -> bytes:
    """A change whose event and row go by its offset."""
    data = json.dumps({"id": offset, "pad": pad})
    return change_line(line_prefix(USERS, EVENTS[offset % 3]), data, None, "2024-05-01", False).encode()


def publication(first: int, last: int | None = None, pad: str = "") -> Publication:
    return Publication("e", first, [line(offset, pad) for offset in range(first, (last or first) + 1)])


def at(offset: int) -> Position:
    return Position("e", offset)


def remembering(start: int, *publications: Publication, entries: int = FOR_EVER) -> Recollection:
    memory = Recollection(at(start), entries, Room())
    for each in publications:
        assert memory.append(each)
    return memory


def told(pieces: list[bytes]) -> list[int]:
    """The offsets of the messages."""
    return [int(message["id"].rpartition("-")[2]) for message in messages(pieces)] if pieces else []


# What a recollection has


def test_every_offset_within_is_served_with_exactly_what_follows():
    memory = remembering(5, publication(6, 9), publication(10), publication(11, 14))
    for offset in range(5, 14):
        assert memory.reach(offset) is Reach.COVERED
        assert told(memory.pieces(CHANNEL, offset, "")) == list(range(offset + 1, 15))


def test_what_is_older_is_to_be_read_and_then_served():
    memory = remembering(5, publication(6))
    assert memory.reach(2) is Reach.UNREAD
    memory.look_back(at(2), [publication(3), publication(4, 5)])
    assert memory.reach(2) is Reach.COVERED
    assert told(memory.pieces(CHANNEL, 2, "")) == [3, 4, 5, 6]
    assert memory.reach(1) is Reach.UNREAD


def test_a_publication_of_which_a_part_was_there_comes_whole_and_is_told_once():
    memory = remembering(5)
    memory.append(publication(6))
    memory.look_back(at(3), [publication(1, 5).after(3)])
    memory.look_back(at(1), [publication(1, 5).after(1)])
    assert told(memory.pieces(CHANNEL, 1, "")) == [2, 3, 4, 5, 6]
    assert memory.start == at(1)


def test_the_frames_grow_with_what_is_appended_and_are_made_anew_with_what_is_older():
    memory = remembering(5, publication(6))
    assert told(memory.pieces(CHANNEL, 5, "")) == [6]
    memory.append(publication(7))
    assert told(memory.pieces(CHANNEL, 5, "")) == [6, 7]
    memory.look_back(at(4), [publication(5)])
    assert told(memory.pieces(CHANNEL, 4, "")) == [5, 6, 7]


def test_each_channel_gets_its_events_by_its_own_name():
    memory = remembering(0, publication(1, 9))
    [first, *_] = messages(memory.pieces(INSERTS, 0, ""))
    assert first["channel"] == "table:public.users:INSERT"
    assert told(memory.pieces(INSERTS, 3, "")) == [6, 9]
    assert told(memory.pieces(INSERTS, 8, "")) == [9]
    assert told(memory.pieces(INSERTS, 0, "")) == [3, 6, 9]


def test_nothing_is_told_where_no_event_fits():
    memory = remembering(0, publication(1, 2))
    assert memory.pieces(INSERTS, 0, "") == []


def test_those_who_missed_the_same_share_all_pieces_and_others_all_but_the_first():
    memory = remembering(0, *(publication(10 * n + 1, 10 * n + 10, pad="x" * 2_000) for n in range(30)))
    some, same, more = (
        memory.pieces(CHANNEL, offset, who) for offset, who in [(50, "a"), (50, "b"), (3, "c")]
    )
    assert len(some) > 5
    assert [id(piece) for piece in some] == [id(piece) for piece in same]
    assert [id(piece) for piece in more[-len(some) + 1 :]] == [id(piece) for piece in some[1:]]


@pytest.mark.parametrize("seed", range(20))
def test_any_cut_of_any_tape_is_what_was_missed(seed):
    chance = random.Random(seed)
    memory, last = remembering(10), 10
    for _ in range(60):
        size, pad = chance.choice([(1, 0), (1, 10), (1, 70_000), (2, 3_000), (40, 3_000)])
        assert memory.append(publication(last + 1, last + size, pad="x" * pad))
        last += size
        for channel in (CHANNEL, INSERTS):
            offset = chance.randrange(10, last)
            wanted = [n for n in range(offset + 1, last + 1) if channel is CHANNEL or n % 3 == 0]
            assert told(memory.pieces(channel, offset, "")) == wanted


def test_who_broadcast_not_to_itself_does_not_get_that_back():
    lines = [broadcast_line(b"%d" % n, Sender("ann", None), "2024", to_self=n != 2) for n in range(1, 4)]
    memory = Recollection(at(0), FOR_EVER, Room())
    memory.append(Publication("e", 1, lines))
    assert [message["payload"] for message in messages(memory.pieces(ROOM, 0, "ann"))] == [1, 3]
    assert [message["payload"] for message in messages(memory.pieces(ROOM, 0, "bob"))] == [1, 2, 3]


# What ends it, and what it refuses


@pytest.mark.parametrize("other", [publication(8), publication(6), Publication("f", 1, [line(1)])])
def test_what_does_not_follow_is_not_taken_in(other):
    memory = remembering(5, publication(6))
    assert not memory.append(other)
    assert memory.end == at(6)


def test_an_empty_part_of_a_publication_is_no_harm():
    memory = remembering(5, publication(6))
    assert memory.append(publication(6).after(6))
    assert memory.end == at(6)


@pytest.mark.parametrize(
    "older", [[publication(3)], [publication(4, 5)], [publication(3), publication(5)], []]
)
def test_history_that_does_not_join_up_is_not_taken_in(older):
    memory = remembering(5, publication(6))
    memory.look_back(at(2), older)
    assert memory.reach(2) is Reach.LOST
    assert told(memory.pieces(CHANNEL, 5, "")) == [6]


def test_where_history_did_not_reach_it_is_not_asked_again():
    memory = remembering(5)
    memory.look_back(at(2), None)
    assert [memory.reach(offset) for offset in range(5)] == [*[Reach.LOST] * 3, *[Reach.UNREAD] * 2]


def test_what_history_keeps_no_more_is_not_told_from_memory_either():
    memory = remembering(0, publication(1, 4), *(publication(n) for n in range(5, 11)), entries=5)
    assert [memory.reach(offset) for offset in range(10)] == [*[Reach.LOST] * 5, *[Reach.COVERED] * 5]


def test_a_burst_is_kept_whole_as_history_keeps_it():
    memory = remembering(100, entries=5)
    memory.look_back(at(50), [publication(1, 100).after(50)])
    memory.look_back(at(20), [publication(1, 100).after(20)])
    memory.append(publication(101))
    assert memory.reach(20) is Reach.COVERED
    assert told(memory.pieces(CHANNEL, 20, "")) == list(range(21, 102))


def test_what_does_not_fit_is_left_to_each_client_and_the_rest_still_served(monkeypatch):
    memory = remembering(50, publication(51))
    monkeypatch.setattr(recollection, "TOPIC_BYTES", 5_000)
    memory.look_back(at(10), [publication(11, 50, pad="x" * 1_000)])
    assert [memory.reach(offset) for offset in (9, 10, 11)] == [Reach.BEYOND, Reach.BEYOND, Reach.UNREAD]
    assert told(memory.pieces(CHANNEL, 50, "")) == [51]


def test_frames_that_do_not_fit_are_made_for_each_client(monkeypatch):
    memory = remembering(0, publication(1, 9))
    monkeypatch.setattr(recollection, "TOPIC_BYTES", 1)
    first, second = (memory.pieces(CHANNEL, 4, who) for who in "ab")
    assert told(first) == told(second) == [5, 6, 7, 8, 9]
    assert first[0] is not second[0]


def test_what_grows_over_its_bound_is_forgotten(monkeypatch):
    memory = remembering(0, publication(1, 9))
    monkeypatch.setattr(recollection, "TOPIC_BYTES", 1)
    assert not memory.append(publication(10))


def test_all_topics_share_one_bound_and_give_back_what_they_took(monkeypatch):
    monkeypatch.setattr(recollection, "NODE_BYTES", 12_000)
    room = Room()
    one, other = (Recollection(at(0), FOR_EVER, room) for _ in range(2))
    assert one.append(publication(1, pad="x" * 5_000))
    one.pieces(CHANNEL, 0, "")
    assert 5_000 < room.used <= 12_000
    assert not other.append(publication(1, pad="x" * 5_000))
    one.close()
    assert room.used == 0
    assert other.append(publication(1, pad="x" * 5_000))


def test_what_was_made_anew_gives_back_the_frames_it_had():
    room = Room()
    memory = Recollection(at(5), FOR_EVER, room)
    for offset in range(4, -1, -1):
        memory.look_back(at(offset), [publication(1, 5).after(offset)])
    without_frames = room.used
    memory.look_back(at(-1), None)
    memory.pieces(CHANNEL, 0, "")
    assert room.used > without_frames
    fresh = Recollection(at(5), FOR_EVER, Room())
    fresh.look_back(at(0), [publication(1, 5)])
    assert without_frames == fresh._room.used


def test_nothing_is_taken_in_after_the_end():
    room = Room()
    memory = Recollection(at(5), FOR_EVER, room)
    memory.close()
    memory.close()
    memory.look_back(at(0), [publication(1, 5)])
    assert not memory.append(publication(6))
    assert room.used == 0


# What is read next


def test_one_reading_is_for_the_oldest_that_anybody_wants():
    memory = remembering(50)
    for offset in (30, 10, 40, 10):
        memory.want(offset)
    assert memory.next_to_read() == at(10)
    memory.want_no_more(10)
    assert memory.next_to_read() == at(10)
    memory.want_no_more(10)
    assert memory.next_to_read() == at(30)


def test_a_thousand_who_want_what_is_lost_know_it_after_few_readings():
    memory = remembering(2_000)
    for offset in range(1_000, 2_000):
        memory.want(offset)
    readings = 0
    while any(memory.reach(offset) is Reach.UNREAD for offset in range(1_000, 2_000)):
        since = memory.next_to_read()
        memory.look_back(
            since, [publication(since.offset + 1, memory.start.offset)] if since.offset >= 1_777 else None
        )
        readings += 1
    assert readings <= 12
    assert [memory.reach(offset) for offset in (1_776, 1_777)] == [Reach.LOST, Reach.COVERED]
