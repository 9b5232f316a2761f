"""The referee of the chaos suite, and what it hears of talk and of who is there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.hearing import Hearing, Talk
from tests.chaos.referee import (
    BROKEN,
    DUPLICATE,
    GHOST,
    KEPT_ALIKE,
    KEPT_EPOCHS,
    KEPT_TEXTS,
    KINDS,
    LOSS,
    OUT_OF_ORDER,
    WRONG,
    Referee,
)
from tests.chaos.roster import Roster
from tests.chaos.standing import GRACE_SECONDS, Difference

EPOCH, OTHER = "0123456789ab", "ba9876543210"
LATER = float("inf")


@pytest.fixture
def referee() -> Referee:
    return Referee(7)


def kinds(referee: Referee, differences: list[Difference] | None = None) -> dict[str, int]:
    for kind, what in differences or ():
        referee.violation(kind, "here", what)
    return {kind: times for kind in KINDS if (times := referee.counts[kind])}


def test_a_run_without_violations_says_that_nothing_was_lost(referee):
    referee.count("changes", 3)
    referee.fault("notifier-killed")
    report = referee.report()
    assert report.endswith("seed 7: nothing lost")
    assert "1 (notifier-killed 1)" in report
    assert referee.is_content


def test_each_violation_names_the_seed_and_the_place(referee):
    referee.violation(LOSS, "subscriber 1 table:chaos_a segment 2", "row 5 is missing")
    expected = "seed 7: losses: subscriber 1 table:chaos_a segment 2: row 5 is missing"
    assert referee.violations == [expected]
    assert referee.report().endswith(expected)
    assert not referee.is_content


def test_a_flood_of_violations_is_counted_and_not_kept(referee):
    for place in range(KEPT_TEXTS + 5):
        referee.violation(LOSS, f"place {place}", "this")
    assert (referee.counts[LOSS], len(referee.violations)) == (KEPT_TEXTS + 5, KEPT_TEXTS)
    assert referee.report().endswith("seed 7: and 5 more")


def test_violations_alike_leave_room_for_others(referee):
    told: list[str] = []
    referee.on_violation = told.append
    for kind in (LOSS, LOSS, LOSS, LOSS, LOSS, DUPLICATE):
        referee.violation(kind, "here", "this")
    assert referee.violations == told
    assert [sum(f" {kind}: " in one for one in told) for kind in (LOSS, DUPLICATE)] == [KEPT_ALIKE, 1]
    assert referee.report().endswith("seed 7: and 2 more")


def test_the_longest_silence_stands_in_the_report(referee):
    for seconds, who in ((1.0, "a"), (9.5, "b"), (3.0, "c")):
        referee.was_silent(seconds, who)
    assert "9.5 s (b)" in referee.report()


def test_one_id_means_one_change(referee):
    assert not referee.is_new_meaning("chaos_a", EPOCH, 5, "this")
    assert not referee.is_new_meaning("chaos_a", EPOCH, 5, "this")
    assert not referee.is_new_meaning("chaos_b", EPOCH, 5, "that")
    assert not referee.is_new_meaning("chaos_a", OTHER, 5, "that")
    assert referee.is_new_meaning("chaos_a", EPOCH, 5, "that")


def test_meanings_of_old_epochs_are_forgotten(referee):
    for number in range(KEPT_EPOCHS + 1):
        assert not referee.is_new_meaning("chaos_a", f"epoch {number}", 1, "this")
    assert not referee.is_new_meaning("chaos_a", "epoch 0", 1, "that")
    assert referee.is_new_meaning("chaos_a", f"epoch {KEPT_EPOCHS}", 1, "that")


class Room:
    """A listener in a room, and what is said there by `a` and `b`."""

    def __init__(self, referee: Referee) -> None:
        self.referee = referee
        self.talk = Talk("room:chaos")
        self.hearing = Hearing("listener", self.talk, referee)
        self.epoch = EPOCH
        self.offset = 0
        self.hearing.subscribed(f"{EPOCH}-0", False, None, 0)

    def say(self, count: int, talker: str = "a", acknowledged: bool = True) -> Room:
        for _ in range(count):
            number = self.talk.next(talker)
            if acknowledged:
                self.talk.acknowledge(talker, number)
        return self

    def hear(self, *numbers: int, talker: str = "a", life: int = 1, now: float = 0) -> Room:
        for number in numbers:
            self.offset += 1
            payload = {"talker": talker, "life": life, "number": number}
            self.hearing.heard({"payload": payload, "id": f"{self.epoch}-{self.offset}"}, now)
        return self

    def resync(self, now: float = 0) -> Room:
        self.epoch, self.offset = OTHER, 0
        self.hearing.resync(f"{OTHER}-0", now)
        return self

    def found(self) -> dict[str, int]:
        self.hearing.judge(LATER)
        return kinds(self.referee, self.hearing.differences())


@pytest.fixture
def room(referee: Referee) -> Room:
    return Room(referee)


def test_talk_that_is_heard_once_and_in_order_is_as_it_should_be(room):
    room.say(2).say(2, "b").hear(1).hear(1, talker="b").hear(2).hear(2, talker="b")
    assert room.found() == {}


def test_what_was_not_acknowledged_need_not_be_heard(room):
    room.say(1).say(2, acknowledged=False).say(1).hear(1, 3, 4)
    assert room.found() == {}


def test_what_one_of_two_redises_acknowledged_need_not_be_heard(room):
    room.talk.is_divided = True
    room.say(1)
    room.talk.is_divided = False
    assert room.say(1).hear(2).found() == {}


def test_what_a_dying_node_says_late_may_be_heard_late(room):
    room.say(1, acknowledged=False).say(1).hear(2, life=2).hear(1, life=1)
    assert room.found() == {}


def test_talk_from_before_the_segment_may_be_heard(room):
    room.say(2).resync().say(1).hear(2, 3)
    assert room.found() == {}


def test_what_comes_twice_is_a_duplicate_even_after_a_resync(room):
    room.say(1).hear(1).resync().hear(1)
    assert room.found() == {DUPLICATE: 1}


def test_numbers_that_swapped_places_are_out_of_order(room):
    assert room.say(2).hear(2, 1).found() == {OUT_OF_ORDER: 1}


def test_what_was_acknowledged_and_passed_over_is_a_loss_after_the_grace(room):
    room.say(3).hear(1, 3)
    room.hearing.judge(GRACE_SECONDS - 1)
    assert kinds(room.referee) == {}
    room.hearing.judge(GRACE_SECONDS)
    assert kinds(room.referee) == {LOSS: 1}


def test_a_resync_excuses_what_was_passed_over(room):
    assert room.say(3).hear(1, 3).resync(now=1).found() == {}


def test_a_resync_excuses_an_id_that_was_left_out(room):
    room.say(1).hear(1).say(1)
    room.offset += 1
    assert room.hear(2).resync(now=1).found() == {}


def test_the_last_thing_said_that_nobody_heard_is_found_in_the_end(room):
    assert room.say(3).hear(1).found() == {LOSS: 1}


def test_a_topic_that_was_forgotten_while_idle_is_no_loss(room):
    room.say(1).hear(1)
    room.epoch, room.offset = OTHER, 0
    assert room.say(1).hear(2).found() == {}


def presence(event: str, *who: str, state: int = 0, more: bool = False) -> dict[str, Any]:
    entries = [{"connection_id": one, "state": state} for one in who]
    return {"type": "presence", "event": event, "presences": entries, "more": more}


def watched(referee: Referee, *messages: dict[str, Any]) -> Roster:
    roster = Roster("watcher", "presence", referee)
    roster.subscribed(f"{EPOCH}-0", False, None, 0)
    for message in messages:
        roster.heard(message, 0)
    return roster


def test_a_roster_that_follows_who_comes_and_goes_agrees_in_the_end(referee):
    roster = watched(
        referee,
        presence("sync", "a", more=True),
        presence("sync", "b"),
        presence("join", "c", "d"),
        presence("update", "c", state=2),
        presence("leave", "a", "d"),
    )
    assert kinds(referee, roster.differences({"b": 0, "c": 2})) == {}


def test_a_sync_begins_anew(referee):
    roster = watched(referee, presence("sync", "a", "b"), presence("sync", "b", "c"))
    assert kinds(referee, roster.differences({"b": 0, "c": 0})) == {}


@pytest.mark.parametrize(
    ("messages", "found"),
    [
        ([presence("sync", "a"), presence("join", "a")], {DUPLICATE: 1}),
        ([presence("sync", "a"), presence("leave", "a"), presence("leave", "a")], {DUPLICATE: 1}),
        ([presence("sync"), presence("update", "a"), presence("leave", "a")], {DUPLICATE: 1}),
        ([presence("join", "a"), presence("sync", "a")], {BROKEN: 1}),
        ([presence("sync", "a", "a")], {DUPLICATE: 1}),
        ([presence("sync", "a", more=True), presence("sync", "a")], {DUPLICATE: 1}),
    ],
)
def test_who_joins_or_leaves_twice_or_before_the_list_is_found(referee, messages, found):
    watched(referee, *messages)
    assert kinds(referee) == found


@pytest.mark.parametrize(
    ("there", "found"), [({}, {GHOST: 1}), ({"a": 0, "b": 0}, {LOSS: 1}), ({"a": 1}, {WRONG: 1})]
)
def test_a_roster_that_is_not_the_truth_is_found_in_the_end(referee, there, found):
    roster = watched(referee, presence("sync", "a"))
    assert kinds(referee, roster.differences(there)) == found
