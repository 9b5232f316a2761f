"""What is remembered for clients that come back, and what is read of history next."""

from __future__ import annotations

import json
import random

import pytest

from gateway.hub.replay_cache import SLICE_BYTES, Coverage, ReplayBudget, ReplayCache
from gateway.hub.subscribers import subscription
from gateway.wire.frames import PIECE_BYTES
from realtime.channels import Event, Table, parse_channel
from realtime.publications import (
    Position,
    Publication,
    Sender,
    broadcast_line,
    change_line,
    line_prefix,
)
from tests.hub_fixture import NATIVE
from tests.unit.gateway.wire.test_frames import messages

USERS = Table("public", "users")
CHANNEL, INSERTS = parse_channel("table:users"), parse_channel("table:public.users:INSERT")
ROOM = parse_channel("room:a")
ALL = subscription(None, CHANNEL, "", NATIVE)
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


def remembering(start: int, *publications: Publication, entries: int = FOR_EVER) -> ReplayCache:
    cache = ReplayCache(at(start), entries, ReplayBudget(10**9))
    for each in publications:
        assert cache.append(each)
    return cache


def pieces_after(cache: ReplayCache, channel, offset: int, reader: str = "") -> list[bytes]:
    """Everything after an offset, slice by slice."""
    pieces: list[bytes] = []
    while offset < cache.end.offset:
        some, reached = cache.slice(subscription(None, channel, reader, NATIVE), offset)
        assert offset < reached <= cache.end.offset
        pieces, offset = pieces + some, reached
    return pieces


def told(pieces: list[bytes]) -> list[int]:
    """The offsets of the messages."""
    return [int(message["id"].rpartition("-")[2]) for message in messages(pieces)] if pieces else []


# What a replay cache has


def test_every_offset_within_is_served_with_exactly_what_follows():
    cache = remembering(5, publication(6, 9), publication(10), publication(11, 14))
    for offset in range(5, 14):
        assert cache.coverage(offset) is Coverage.COVERED
        assert told(pieces_after(cache, CHANNEL, offset, "")) == list(range(offset + 1, 15))


def test_what_is_older_is_to_be_read_and_then_served():
    cache = remembering(5, publication(6))
    assert cache.coverage(2) is Coverage.UNREAD
    cache.look_back(at(2), [publication(3), publication(4, 5)])
    assert cache.coverage(2) is Coverage.COVERED
    assert told(pieces_after(cache, CHANNEL, 2)) == [3, 4, 5, 6]
    assert cache.coverage(1) is Coverage.UNREAD


def test_a_page_ends_where_what_is_here_begins_whatever_history_brought():
    cache = remembering(5)
    cache.append(publication(6))
    cache.look_back(at(3), [publication(1, 5).after(3)])
    cache.look_back(at(1), [publication(1, 5).after(1)])
    cache.look_back(at(0), [publication(1, 5), publication(6), publication(7)])
    assert told(pieces_after(cache, CHANNEL, 0)) == [1, 2, 3, 4, 5, 6]


def test_pages_may_have_holes_between_them_which_are_read_when_somebody_comes_there():
    cache = remembering(50, publication(51))
    cache.look_back(at(10), [publication(11, 20)])
    cache.look_back(at(30), [publication(31, 40)])
    assert [cache.coverage(offset) for offset in (10, 19, 20, 29, 30, 40, 50)] == [
        *[Coverage.COVERED] * 2,
        *[Coverage.UNREAD] * 2,
        Coverage.COVERED,
        Coverage.UNREAD,
        Coverage.COVERED,
    ]
    cache.want(20)
    assert cache.next_to_read() == (at(20), 30)
    cache.look_back(at(20), [publication(21, 35)])
    cache.look_back(at(40), [publication(41, 50)])
    assert told(pieces_after(cache, CHANNEL, 10)) == list(range(11, 52))


def test_the_frames_grow_with_what_is_appended_and_are_made_anew_with_what_is_older():
    cache = remembering(5, publication(6))
    assert told(pieces_after(cache, CHANNEL, 5, "")) == [6]
    cache.append(publication(7))
    assert told(pieces_after(cache, CHANNEL, 5, "")) == [6, 7]
    cache.look_back(at(4), [publication(5)])
    assert told(pieces_after(cache, CHANNEL, 4, "")) == [5, 6, 7]


def test_each_channel_gets_its_events_by_its_own_name():
    cache = remembering(0, publication(1, 9))
    [first, *_] = messages(pieces_after(cache, INSERTS, 0, ""))
    assert first["channel"] == "table:public.users:INSERT"
    assert told(pieces_after(cache, INSERTS, 3, "")) == [6, 9]
    assert told(pieces_after(cache, INSERTS, 8, "")) == [9]
    assert told(pieces_after(cache, INSERTS, 0, "")) == [3, 6, 9]


def test_a_client_gets_slices_however_much_it_missed():
    cache = remembering(0, *(publication(10 * n + 1, 10 * n + 10, pad="x" * 3_000) for n in range(60)))
    offset, got = 0, []
    while offset < 600:
        pieces, offset = cache.slice(ALL, offset)
        assert sum(map(len, pieces)) <= SLICE_BYTES + PIECE_BYTES + 4_000
        got += told(pieces)
    assert got == list(range(1, 601))


def test_a_slice_of_what_is_not_all_for_a_client_is_no_larger():
    lines = [
        broadcast_line(b'"%s"' % (b"x" * 50_000), Sender("ann", None), "2024", n != 3) for n in range(40)
    ]
    cache = ReplayCache(at(0), FOR_EVER, ReplayBudget(10**9))
    cache.append(Publication("e", 1, lines))
    offset, count = 0, 0
    while offset < 40:
        pieces, offset = cache.slice(subscription(None, ROOM, "ann", NATIVE), offset)
        assert sum(map(len, pieces)) <= SLICE_BYTES + 51_000
        count += len(messages(pieces))
    assert count == 39


def test_nothing_is_told_where_no_event_fits():
    cache = remembering(0, publication(1, 2))
    assert pieces_after(cache, INSERTS, 0, "") == []


def test_those_who_missed_the_same_share_all_pieces_and_others_all_but_the_first():
    cache = remembering(0, *(publication(10 * n + 1, 10 * n + 10, pad="x" * 2_000) for n in range(30)))
    some, same, more = (
        pieces_after(cache, CHANNEL, offset, who) for offset, who in [(50, "a"), (50, "b"), (3, "c")]
    )
    assert len(some) > 5
    assert [id(piece) for piece in some] == [id(piece) for piece in same]
    assert [id(piece) for piece in more[-len(some) + 1 :]] == [id(piece) for piece in some[1:]]


@pytest.mark.parametrize("seed", range(20))
def test_any_cut_of_any_frames_is_what_was_missed(seed):
    chance = random.Random(seed)
    cache, last = remembering(10), 10
    for _ in range(60):
        size, pad = chance.choice([(1, 0), (1, 10), (1, 70_000), (2, 3_000), (40, 3_000)])
        assert cache.append(publication(last + 1, last + size, pad="x" * pad))
        last += size
        for channel in (CHANNEL, INSERTS):
            offset = chance.randrange(10, last)
            wanted = [n for n in range(offset + 1, last + 1) if channel is CHANNEL or n % 3 == 0]
            assert told(pieces_after(cache, channel, offset, "")) == wanted


def test_who_broadcast_not_to_itself_does_not_get_that_back():
    lines = [broadcast_line(b"%d" % n, Sender("ann", None), "2024", to_self=n != 2) for n in range(1, 4)]
    cache = ReplayCache(at(0), FOR_EVER, ReplayBudget(10**9))
    cache.append(Publication("e", 1, lines))
    assert [message["payload"] for message in messages(pieces_after(cache, ROOM, 0, "ann"))] == [1, 3]
    assert [message["payload"] for message in messages(pieces_after(cache, ROOM, 0, "bob"))] == [1, 2, 3]


# What ends it, and what it refuses


@pytest.mark.parametrize("other", [publication(8), publication(6), Publication("f", 1, [line(1)])])
def test_what_does_not_follow_is_not_taken_in(other):
    cache = remembering(5, publication(6))
    assert not cache.append(other)
    assert cache.end == at(6)


def test_an_empty_part_of_a_publication_is_no_harm():
    cache = remembering(5, publication(6))
    assert cache.append(publication(6).after(6))
    assert cache.end == at(6)


@pytest.mark.parametrize("older", [[publication(3), publication(5)], [publication(4, 5)], []])
def test_history_that_does_not_join_up_is_not_taken_in(older):
    cache = remembering(5, publication(6))
    cache.look_back(at(2), older)
    assert cache.coverage(2) is Coverage.LOST
    assert told(pieces_after(cache, CHANNEL, 5)) == [6]


def test_where_history_did_not_reach_it_is_not_asked_again():
    cache = remembering(5)
    cache.look_back(at(2), None)
    assert [cache.coverage(offset) for offset in range(5)] == [*[Coverage.LOST] * 3, *[Coverage.UNREAD] * 2]


def test_what_history_keeps_no_more_is_not_told_to_newcomers_from_memory_either():
    cache = remembering(0, publication(1, 4), *(publication(n) for n in range(5, 11)), entries=5)
    assert [cache.is_kept(offset) for offset in range(10)] == [*[False] * 5, *[True] * 5]
    assert cache.coverage(0) is Coverage.COVERED  # for who is reading already


def test_a_burst_is_kept_whole_as_history_keeps_it():
    cache = remembering(100, entries=5)
    cache.look_back(at(50), [publication(1, 100).after(50)])
    cache.look_back(at(20), [publication(1, 100).after(20)])
    cache.append(publication(101))
    assert told(pieces_after(cache, CHANNEL, 20)) == list(range(21, 102))


def test_what_was_used_least_recently_goes_and_is_read_again():
    budget = ReplayBudget(200_000)
    cache = ReplayCache(at(300), FOR_EVER, budget)
    for start in (0, 100, 200):
        cache.look_back(at(start), [publication(start + 1, start + 100, pad="x" * 400)])
    cache.slice(ALL, 0)
    cache.look_back(at(100), [publication(101, 200, pad="x" * 400)])
    assert cache.coverage(0) is Coverage.COVERED
    assert Coverage.UNREAD in [cache.coverage(offset) for offset in (100, 200)]
    assert budget.used <= 200_000


def test_a_page_that_is_larger_than_the_budget_is_there_while_it_is_used():
    budget = ReplayBudget(1_000)
    cache = ReplayCache(at(0), FOR_EVER, budget)
    cache.append(publication(1, pad="x" * 5_000))
    assert told(pieces_after(cache, CHANNEL, 0)) == [1]
    cache.append(publication(2, pad="x" * 5_000))
    assert cache.coverage(1) is Coverage.COVERED


def test_all_topics_share_one_budget_and_give_back_what_they_took():
    budget = ReplayBudget(12_000)
    one, other = (ReplayCache(at(0), FOR_EVER, budget) for _ in range(2))
    assert one.append(publication(1, pad="x" * 4_000))
    pieces_after(one, CHANNEL, 0)
    assert 8_000 < budget.used <= 12_000
    assert other.append(publication(1, pad="x" * 5_000))
    assert (one.coverage(0), other.coverage(0)) == (Coverage.UNREAD, Coverage.COVERED)
    other.close()
    assert budget.used == 0
    assert list(budget) == []


def test_everything_may_have_to_go_at_once():
    budget = ReplayBudget(10**9)
    cache = ReplayCache(at(0), FOR_EVER, budget)
    cache.append(publication(1, 50))
    pieces_after(cache, CHANNEL, 0)
    budget.clear()
    assert (budget.used, cache.coverage(0)) == (0, Coverage.UNREAD)
    cache.append(publication(51))
    assert told(pieces_after(cache, CHANNEL, 50)) == [51]


def test_the_budget_knows_what_its_pages_take():
    budget = ReplayBudget(10**9)
    cache = ReplayCache(at(0), FOR_EVER, budget)
    cache.append(publication(1, 500, pad="x" * 1_000))
    lines = budget.used
    assert lines >= 500 * 1_000
    pieces_after(cache, CHANNEL, 0)
    pieces_after(cache, INSERTS, 0)
    frames = sum(len(piece) for page in budget for piece in page.pieces)
    assert lines + frames <= budget.used <= lines + 1.2 * 500 * 1_100 * 4 / 3


def test_nothing_is_taken_in_after_the_end():
    budget = ReplayBudget(10**9)
    cache = ReplayCache(at(5), FOR_EVER, budget)
    cache.close()
    cache.close()
    cache.look_back(at(0), [publication(1, 5)])
    cache.append(publication(6))
    assert budget.used == 0


# What is read next


def test_one_reading_is_for_the_oldest_that_anybody_wants():
    cache = remembering(50)
    for offset in (30, 10, 40, 10):
        cache.want(offset)
    assert cache.next_to_read() == (at(10), 50)
    cache.want_no_more(10)
    assert cache.next_to_read() == (at(10), 50)
    cache.want_no_more(10)
    assert cache.next_to_read() == (at(30), 50)


def test_a_thousand_who_want_what_is_lost_know_it_after_few_readings():
    cache = remembering(2_000)
    for offset in range(1_000, 2_000):
        cache.want(offset)
    readings = 0
    while any(cache.coverage(offset) is Coverage.UNREAD for offset in range(1_000, 2_000)):
        since, until = cache.next_to_read()
        reaches = since.offset >= 1_777
        cache.look_back(since, [publication(since.offset + 1, until)] if reaches else None)
        readings += 1
    assert readings <= 12
    assert [cache.coverage(offset) for offset in (1_776, 1_777)] == [Coverage.LOST, Coverage.COVERED]
