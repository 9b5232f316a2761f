"""The roster of a presence topic: what its subscribers are told leads them to who is there."""

from __future__ import annotations

import json
import random

import pytest

from gateway.hub.hub import Hub, presence_deliveries
from gateway.hub.roster import SYNC_BYTES, Roster
from gateway.hub.subscribers import subscription
from gateway.hub.topic import Topic
from gateway.wire.events import PresenceChanged
from realtime.channels import parse_channel
from realtime.publications import Position, Publication
from tests.hub_fixture import NATIVE, delivered


def line(kind: str, who: str, state: int = 0) -> bytes:
    return f'{kind}n-0/{who} {{"connection_id":"{who}","state":{state}}}'.encode()


def frames(roster: Roster) -> list[dict]:
    return [decoded(frame) for frame in roster.news()]


def decoded(frame: bytes | PresenceChanged) -> dict:
    if isinstance(frame, PresenceChanged):
        frame = NATIVE.encode(frame)
    return json.loads(frame[frame.index(b"{") :])


def told(roster: Roster) -> list[tuple[str, list[tuple[str, int]]]]:
    return [
        (message["event"], [(entry["connection_id"], entry["state"]) for entry in message["presences"]])
        for message in frames(roster)
    ]


def after(*lines: bytes) -> Roster:
    roster = Roster("presence:room:a")
    roster.apply(lines)
    return roster


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ("Ja1 Jb1 Jc1", [("join", "a1 b1 c1")]),
        ("Ja1 Ua2 Ua3", [("join", "a3")]),
        ("Ja1 La1", [("join", "a1"), ("leave", "a1")]),
        ("Ja1 La1 Ja2", [("join", "a1"), ("leave", "a1"), ("join", "a2")]),
        ("Ja1 La1 Ja2 Ua3", [("join", "a1"), ("leave", "a1"), ("join", "a3")]),
        ("Ja1 La1 Jb1 Lb1 Jc1", [("join", "a1 b1 c1"), ("leave", "a1 b1")]),
    ],
)
def test_changes_of_a_moment_become_few_messages(changes, expected):
    roster = after(*(line(one[0], one[1], int(one[2])) for one in changes.split()))
    assert told(roster) == [
        (event, [(one[0], int(one[1])) for one in entries.split()]) for event, entries in expected
    ]


def test_an_update_of_who_was_told_before_is_an_update():
    roster = after(line("J", "a", 1))
    roster.news()
    roster.apply([line("U", "a", 2), line("J", "b", 1), line("U", "a", 3)])
    assert told(roster) == [("update", [("a", 3)]), ("join", [("b", 1)])]


def test_a_leave_after_an_update_tells_the_last_state():
    roster = after(line("J", "a", 1))
    roster.news()
    roster.apply([line("U", "a", 2), line("L", "a", 2)])
    assert told(roster) == [("update", [("a", 2)]), ("leave", [("a", 2)])]


def moved(*changes: str) -> list[bytes]:
    """Lines from `J1a0`: kind, life, who and state."""
    return [
        f'{kind}n-{life}/{who} {{"connection_id":"{who}","state":{state}}}'.encode()
        for kind, life, who, state in map(tuple, changes)
    ]


def test_nobody_is_told_of_who_only_moves_to_a_new_life_of_its_node():
    roster = after(*moved("J1a0", "J1b0", "J1c0"))
    roster.news()
    roster.apply(moved("L1a0", "J2a0", "L1b0", "L1c0", "J2c0"))
    assert told(roster) == [("leave", [("b", 0)])]
    assert _members(roster) == {"a": 0, "c": 0}


def test_who_comes_and_moves_in_one_moment_joins_once():
    assert told(after(*moved("J1a0", "L1a0", "J2a0"))) == [("join", [("a", 0)])]


def test_who_moves_and_is_not_what_it_was_leaves_and_joins_in_this_order():
    roster = after(*moved("J1a0"))
    roster.news()
    roster.apply(moved("L1a0", "J2a1"))
    assert told(roster) == [("leave", [("a", 0)]), ("join", [("a", 1)])]


def test_who_stands_under_two_incarnations_is_there_once_as_the_last_one_has_it():
    """A fail-over may bring back an entry of the life before; the reaper takes it out."""
    roster = Roster("presence")
    roster.replace(
        {b"n-2/a": b'{"connection_id":"a","state":2}', b"n-1/a": b'{"connection_id":"a","state":1}'}
    )
    assert _members(roster) == {"a": 2}
    assert len(roster.entries()) == 1
    roster.apply(moved("L1a1"))
    assert told(roster) == []
    roster.apply(moved("U2a3"))
    assert told(roster) == [("update", [("a", 3)])]
    roster.apply(moved("L2a3"))
    assert told(roster) == [("leave", [("a", 3)])]


def test_who_is_put_under_a_new_life_first_is_updated_only_if_it_is_another_entry():
    roster = after(*moved("J1a0", "J1b0"))
    roster.news()
    roster.apply(moved("J2a0", "L1a0", "J2b1", "L1b0"))
    assert told(roster) == [("update", [("b", 1)])]


def test_news_is_told_once():
    roster = after(line("J", "a"))
    assert roster.has_news
    assert len(roster.news()) == 1
    assert not roster.has_news
    assert roster.news() == []


def test_a_thousand_joins_are_a_few_messages():
    roster = after(*(line("J", f"c{number:04}") for number in range(1_000)))
    messages = frames(roster)
    assert sum(len(message["presences"]) for message in messages) == 1_000
    assert len(messages) < 5


def test_nobody_is_an_empty_sync():
    (frame,) = Roster("presence").sync()
    assert decoded(frame) == {
        "type": "presence",
        "channel": "presence",
        "event": "sync",
        "presences": [],
        "more": False,
    }


def test_a_long_list_comes_in_parts_and_the_last_says_so():
    roster = after(*(line("J", f"c{number:05}") for number in range(3_000)))
    parts = [decoded(frame) for frame in roster.sync()]
    assert [part["more"] for part in parts] == [True] * (len(parts) - 1) + [False]
    assert len(parts) > 1
    assert sum(len(part["presences"]) for part in parts) == 3_000
    assert max(len(NATIVE.encode(event)) for event in roster.sync()) < SYNC_BYTES + 5_000


def test_an_entry_that_is_bigger_than_a_part_is_a_part():
    roster = Roster("presence")
    roster.replace({b"n-0/a": b'{"x":"%b"}' % (b"x" * SYNC_BYTES), b"n-0/b": b"{}"})
    assert [len(decoded(frame)["presences"]) for frame in roster.sync()] == [1, 1]


def test_replacing_forgets_what_was_not_told():
    roster = after(line("J", "a"))
    roster.replace({b"n-0/b": b"{}"})
    assert not roster.has_news
    assert roster.entries() == [b"{}"]


@pytest.mark.parametrize("seed", range(30))
def test_whoever_follows_the_news_in_order_knows_who_is_there(seed):
    """Every change is told in an order in which it can happen, and the copy ends as the roster is."""
    chance = random.Random(seed)
    roster = Roster("presence")
    there: dict[str, int] = {}
    copy: dict[str, int] = {}
    for number in range(400):
        who = f"c{chance.randrange(8)}"
        kind = chance.choice("UUL") if who in there else "J"
        if kind != "L":
            there[who] = number
        roster.apply([line(kind, who, there[who])])
        if kind == "L":
            del there[who]
        if chance.random() < 0.1:
            _follow(copy, frames(roster))
            assert copy == there == _members(roster)
    _follow(copy, frames(roster))
    assert copy == there == _members(roster)


def _members(roster: Roster) -> dict[str, int]:
    entries = [json.loads(entry) for entry in roster.entries()]
    return {entry["connection_id"]: entry["state"] for entry in entries}


def _follow(copy: dict[str, int], messages: list[dict]) -> None:
    for message in messages:
        for entry in message["presences"]:
            who = entry["connection_id"]
            assert (who in copy) is (message["event"] != "join"), message
            if message["event"] == "leave":
                assert copy.pop(who) == entry["state"]
            else:
                copy[who] = entry["state"]


KEY = ("demo", "presence")


def live_topic(members: dict[bytes, bytes], position: Position) -> Topic[str]:
    topic = Hub[str]().open(KEY)
    assert delivered(topic, topic.roster_read(position, members)) == []
    topic.subscribers.add(subscription("ann", parse_channel("presence"), "ann", NATIVE))
    return topic


def test_what_redis_published_is_told_when_the_moment_is_over():
    topic = live_topic({}, Position("e", 5))
    assert delivered(topic, topic.received(Publication("e", 6, [line("J", "a")]))) == []
    (delivery,) = presence_deliveries(topic)
    assert [decoded(piece)["event"] for piece in delivery.pieces] == ["join"]
    assert presence_deliveries(topic) == []


def test_a_new_epoch_is_read_again_since_redis_lost_who_was_there():
    topic = live_topic({b"n-0/a": b"{}"}, Position("e", 5))
    assert topic.received(Publication("f", 1, [line("J", "b")])) == []
    assert not topic.is_live
    steps = topic.roster_read(Position("f", 1), {b"n-0/b": b'{"connection_id":"b"}'})
    (delivery,) = delivered(topic, steps)
    (sync,) = map(decoded, delivery.pieces)
    assert (sync["event"], sync["presences"]) == ("sync", [{"connection_id": "b"}])
    assert topic.is_live


def test_the_first_change_ever_needs_no_reading():
    topic = live_topic({}, Position("e", 0))
    topic.received(Publication("f", 1, [line("J", "b")]))
    assert topic.is_live


@pytest.mark.parametrize("was_live", [False, True])
def test_what_came_while_the_list_was_read_is_not_told_twice(was_live):
    topic = live_topic({}, Position("e", 0)) if was_live else Hub[str]().open(KEY)
    topic.lose()
    for offset, who in enumerate("abc", 1):
        topic.received(Publication("e", offset, [line("J", who)]))
    delivered(topic, topic.roster_read(Position("e", 2), {b"n-0/a": b"{}", b"n-0/b": b"{}"}))
    roster = topic.roster
    assert roster is not None
    assert len(roster.entries()) == 3
    assert told(roster) == [("join", [("c", 0)])]


# A newcomer who takes the list in parts


@pytest.mark.parametrize("seed", range(30))
def test_a_newcomer_who_took_a_list_in_parts_knows_who_is_there_after_the_changes_since(seed):
    chance = random.Random(seed)
    roster = after(*(line("J", f"c{number}") for number in range(200)))
    who = roster.attendance()
    copy: dict[str, int] = {}
    count = 0
    while count < len(who):
        parts, count = roster.sync_after(NATIVE, who, count, chance.choice([1, 100_000]))
        for part in map(decoded, parts):
            assert part["more"] is (part is not None and len(copy) + len(part["presences"]) < len(who))
            copy |= {one["connection_id"]: one["state"] for one in part["presences"]}
        for _ in range(3):
            name = f"c{chance.randrange(220)}"
            roster.apply([line(chance.choice("JUL"), name, chance.randrange(9))])
    roster.news()
    _follow(copy, [decoded(roster.event_of(change)) for change in roster.changes_since(who)])
    assert copy == _members(roster)
    assert not roster.changes_since(roster.attendance())


def test_all_who_ask_before_the_next_change_share_one_list():
    roster = after(line("J", "a"))
    first = roster.attendance()
    assert roster.attendance() is first
    roster.apply([line("U", "a", 1)])
    second = roster.attendance()
    roster.replace({b"n-0/b": b"{}"})
    assert len({id(first), id(second), id(roster.attendance())}) == 3


@pytest.mark.parametrize("seed", range(10))
def test_the_size_of_a_roster_is_that_of_its_entries_in_all_incarnations(seed):
    chance = random.Random(seed)
    roster = Roster("presence")
    roster.replace({b"n-0/a": b"{}", b"n-1/a": b"{}", b"of nobody": b"{}"})
    assert roster.size == 4
    for _ in range(200):
        name, kind = f"c{chance.randrange(9)}", chance.choice("JUL")
        roster.apply([line(kind, name, 10 ** chance.randrange(9)) for _ in range(chance.randrange(3))])
        assert roster.size == sum(len(one) for own in roster._members.values() for one in own.values())
