"""A replica of the chaos suite: it passes what may be told of a table, and finds each thing that may not.

Long, since each of those has its own story.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.mirror import TORN_SECONDS, Mirror, Replica, Tally, Truth
from tests.chaos.referee import (
    BROKEN,
    DUPLICATE,
    KINDS,
    LOSS,
    OUT_OF_ORDER,
    PHANTOM,
    WRONG,
    Referee,
)
from tests.chaos.standing import GRACE_SECONDS

EPOCH, OTHER = "0123456789ab", "ba9876543210"
EMPTY = Truth({}, frozenset())
LATER = float("inf")


def truth(*rows: tuple[int, int], dead: tuple[int, ...] = ()) -> Truth:
    """Rows by id and version, each with the note that `message` gives it."""
    return Truth({id: (version, note(id, version)) for id, version in rows}, frozenset(dead))


def note(id: int, version: int) -> str:
    return f"{id} at {version}"


class Stream:
    """What a service says on one channel of a table; ids count up."""

    def __init__(self, replica: Replica, referee: Referee) -> None:
        self.replica = replica
        self.referee = referee
        self.epoch = EPOCH
        self.offset = 0
        self.now = 0.0

    def begin(self, loaded: Truth | None = EMPTY, *, recovered: bool = False) -> Stream:
        since = self.replica.since
        position = since if recovered and since else f"{self.epoch}-{self.offset}"
        self.replica.subscribed(position, recovered, since, self.now)
        if loaded is not None and not recovered:
            self.replica.load(loaded, self.now)
        return self

    def resync(self, loaded: Truth) -> Stream:
        self.epoch, self.offset = OTHER, 0
        self.replica.resync(f"{OTHER}-0", self.now)
        self.replica.load(loaded, self.now)
        return self

    def tell(self, changes: str, at: Callable[[int, int], str] = note) -> Stream:
        """Say changes like `I7 U7.2 D7.2`: INSERT of row 7, UPDATE to version 2, DELETE of it."""
        for change in changes.split():
            self.offset += 1
            self.replica.heard(message(change, f"{self.epoch}-{self.offset}", at), self.now)
        return self

    def found(self, end: Truth | None = None) -> dict[str, int]:
        """Kinds of violations and how many, after all time is over; `end` is the truth then."""
        self.replica.judge(LATER)
        for kind, what in self.replica.differences(end) if end else ():
            self.referee.violation(kind, self.replica.where, what)
        return {kind: times for kind in KINDS if (times := self.referee.counts[kind])}


def message(change: str, id: str, at: Callable[[int, int], str] = note) -> dict[str, Any]:
    row, version = (int(part) for part in (change[1:] + ".1").split(".")[:2])
    event = {"I": "INSERT", "U": "UPDATE", "D": "DELETE"}[change[0]]
    old = {"id": row, "version": version - 1, "note": at(row, version - 1)} if event == "UPDATE" else None
    data = {"id": row, "version": version, "note": at(row, version)}
    return {"type": "realtime", "event": event, "data": data, "old": old, "id": id}


@pytest.fixture
def referee() -> Referee:
    return Referee(7)


@pytest.fixture
def stream(referee: Referee) -> Stream:
    return Stream(Mirror("subscriber", "table:chaos_a", referee), referee)


def tally(referee: Referee, event: str) -> Stream:
    return Stream(Tally("subscriber", f"table:chaos_a:{event}", referee), referee)


def test_each_change_once_and_in_order_is_as_it_should_be(stream):
    stream.begin().tell("I1 I2 U1.2 D2 U1.3 I3 U3.2 D3.2")
    assert stream.found(truth((1, 3), dead=(2, 3))) == {}


def test_a_load_may_show_what_the_stream_brings_again(stream):
    """Rows 1 and 2 changed, 3 lived and died between the position and the load."""
    stream.begin(truth((1, 4), (2, 2), (5, 1), dead=(3, 4)))
    stream.tell("U1.3 I2 U1.4 I3 U2.2 D3 U5.2 U1.5 I6")
    assert stream.found(truth((1, 5), (2, 2), (5, 2), (6, 1), dead=(3, 4))) == {}


def test_what_comes_before_the_load_waits_for_it(stream):
    stream.begin(None).tell("U1.2 U1.3 D2 I3")
    stream.replica.load(truth((1, 2), (2, 1)), 0)
    assert stream.found(truth((1, 3), (3, 1), dead=(2,))) == {}


def test_a_segment_goes_on_where_the_client_was_recovered(stream):
    stream.begin().tell("I1 U1.2").begin(recovered=True).tell("U1.3")
    assert stream.found(truth((1, 3))) == {}
    assert stream.replica.segment == 1


def test_a_repeated_change_is_a_duplicate(stream):
    assert stream.begin().tell("I1 U1.2 U1.2").found() == {DUPLICATE: 1}


def test_a_repeated_change_is_one_also_where_the_client_came_back(stream):
    stream.begin().tell("I1 U1.2").begin(recovered=True).tell("U1.2")
    assert stream.found() == {DUPLICATE: 1}


def test_what_the_load_showed_comes_once_more_at_most(stream):
    assert stream.begin(truth((1, 3))).tell("U1.2 U1.3 U1.3").found() == {DUPLICATE: 1}


@pytest.mark.parametrize("change", ["I1", "U1.2", "D1.2"])
def test_a_change_of_a_row_that_was_seen_to_go_is_a_duplicate(stream, change):
    assert stream.begin().tell(f"I1 U1.2 D1.2 {change}").found() == {DUPLICATE: 1}


def test_a_grave_that_the_load_showed_is_filled_once(stream):
    assert stream.begin(truth(dead=(1,))).tell("U1.2 D1.2 D1.2").found() == {DUPLICATE: 1}


@pytest.mark.parametrize("changes", ["I1 U1.3", "U1.2", "D1", "I1 U1.2 D1.3"])
def test_a_jump_of_the_version_is_a_loss_at_once(stream, changes):
    assert stream.begin().tell(changes).found() == {LOSS: 1}


def test_a_jump_beyond_what_the_load_showed_is_a_loss(stream):
    assert stream.begin(truth((1, 3))).tell("U1.5").found() == {LOSS: 1}


def test_a_jump_within_what_the_load_showed_is_a_loss(stream):
    assert stream.begin(truth((1, 5))).tell("U1.2 U1.4").found() == {LOSS: 1}


def test_changes_that_swapped_places_are_out_of_order(stream):
    assert stream.begin().tell("I1 U1.3 U1.2").found() == {LOSS: 1, OUT_OF_ORDER: 1}


def test_a_message_that_never_comes_is_found_in_the_end(stream):
    stream.begin().tell("I1 U1.2")
    assert stream.found(truth((1, 3), (2, 1))) == {LOSS: 2}


def test_a_row_that_lived_and_died_unseen_is_found_in_the_end(stream):
    stream.begin(truth(dead=(1,))).tell("I2")
    assert stream.found(truth((2, 1), dead=(1, 3))) == {LOSS: 1}


def test_a_delete_that_never_comes_is_found_in_the_end(stream):
    stream.begin(truth((1, 1))).tell("I2")
    assert stream.found(truth(dead=(1, 2))) == {LOSS: 1}


def test_a_stream_that_stops_within_what_the_load_showed_is_found_in_the_end(stream):
    stream.begin(truth((1, 4))).tell("U1.2")
    assert stream.found(truth((1, 4))) == {LOSS: 1}


def test_what_was_rolled_back_and_told_is_found_in_the_end(stream):
    stream.begin().tell("I1 I2 D2")
    assert stream.found(EMPTY) == {PHANTOM: 2}


def test_another_note_than_the_load_showed_is_wrong(stream):
    stream.begin(truth((1, 2))).tell("U1.2", at=lambda id, version: f"{id} else")
    assert stream.found() == {WRONG: 1}


def test_an_insert_that_is_not_the_first_version_is_wrong(stream):
    assert stream.begin(truth((1, 5))).tell("I1.3").found() == {WRONG: 1}


def test_an_old_row_that_is_not_what_was_told_before_is_wrong(stream):
    stream.begin().tell("I1").tell("U1.2", at=lambda id, version: f"{id} else")
    assert stream.found() == {WRONG: 1}


def test_a_deleted_row_that_is_not_what_was_told_before_is_wrong(stream):
    stream.begin().tell("I1").tell("D1", at=lambda id, version: f"{id} else")
    assert stream.found() == {WRONG: 1}


def test_an_id_that_meant_something_else_to_another_subscriber_is_wrong(stream, referee):
    stream.begin().tell("I1")
    other = Stream(Mirror("other", "table:public.chaos_a", referee), referee)
    assert other.begin().tell("I2").found() == {WRONG: 1}


def test_ids_that_do_not_ascend_are_out_of_order(stream):
    stream.begin().tell("I1 I2 I3")
    stream.offset = 1
    assert stream.tell("I2").found() == {OUT_OF_ORDER: 1, DUPLICATE: 1}


def test_an_id_that_was_left_out_is_a_loss(stream):
    stream.begin().tell("I1")
    stream.offset += 1
    assert stream.tell("I2").found() == {LOSS: 1}


def test_another_epoch_that_nobody_announced_is_a_loss(stream):
    stream.begin().tell("I1")
    stream.epoch, stream.offset = OTHER, 0
    assert stream.tell("I2").found() == {LOSS: 1}


def test_an_epoch_in_which_nothing_was_said_may_be_forgotten(stream):
    stream.begin()
    stream.epoch = OTHER
    assert stream.tell("I1").found(truth((1, 1))) == {}


def test_a_resync_begins_anew_also_after_the_database_was_restored(stream):
    """Row 1 went back to version 2, and the ids of rows 2 and 3 are used again."""
    stream.begin().tell("I1 U1.2 U1.3 I2 I3 D3")
    stream.resync(truth((1, 2))).tell("U1.3 I2 I3")
    assert stream.found(truth((1, 3), (2, 1), (3, 1))) == {}


def test_a_resync_within_the_grace_excuses_what_was_odd_before(stream):
    stream.begin().tell("I1 U1.5")
    stream.now += GRACE_SECONDS / 2
    assert stream.resync(truth((1, 5))).found(truth((1, 5))) == {}
    assert stream.referee.counts["covered"] == 1


def test_a_return_that_was_not_recovered_excuses_it_too(stream):
    stream.begin().tell("I1 U1.5").begin(truth((1, 5)))
    assert stream.found(truth((1, 5))) == {}
    assert stream.referee.counts["covered"] == 1


def test_a_resync_after_the_grace_excuses_nothing(stream):
    stream.begin().tell("I1 U1.5")
    stream.now += GRACE_SECONDS
    assert stream.resync(truth((1, 5))).found(truth((1, 5))) == {LOSS: 1}


def test_a_load_that_a_restore_fell_into_has_a_longer_grace(stream):
    stream.begin(None).tell("U1.7")
    stream.replica.load(truth((1, 2)), stream.now, torn=True)
    stream.now += TORN_SECONDS - 1
    assert stream.resync(truth((1, 2))).found(truth((1, 2))) == {}


def test_no_resync_after_a_restore_is_a_loss(stream):
    stream.begin().tell("I1 U1.2 I2")
    assert stream.found(truth((1, 1))) == {LOSS: 1, PHANTOM: 1}


def test_a_table_that_was_never_loaded_is_found_in_the_end(stream):
    assert stream.begin(None).found(truth((1, 1))) == {LOSS: 1}


def test_recovered_from_elsewhere_is_against_the_protocol(stream):
    stream.begin().tell("I1")
    stream.replica.subscribed(f"{EPOCH}-0", True, f"{EPOCH}-1", 0)
    assert stream.found() == {BROKEN: 1}


def test_a_tally_of_inserts_passes_what_was_inserted(referee):
    stream = tally(referee, "INSERT").begin(truth((1, 3), dead=(2,)))
    stream.tell("I1 I2 I3")
    stream.offset += 5  # changes of other kinds
    assert stream.tell("I9").found(truth((1, 4), (3, 1), dead=(2, 9))) == {}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ("I2 I2", {DUPLICATE: 1}),
        ("", {LOSS: 1}),
        ("I2 I3", {PHANTOM: 1}),
        ("U2", {WRONG: 1}),
        ("I2.2", {WRONG: 1}),
    ],
)
def test_a_tally_of_inserts_finds_what_is_not_right(referee, changes, found):
    stream = tally(referee, "INSERT").begin(truth((1, 1))).tell(changes)
    assert stream.found(truth((1, 1), dead=(2,))) == found


def test_a_tally_of_deletes_counts_graves_alone(referee):
    stream = tally(referee, "DELETE").begin(truth((1, 1), (4, 1), dead=(2,)))
    assert stream.tell("D2 D1").found(truth((4, 1), dead=(1, 2))) == {}
    assert stream.found(truth(dead=(1, 2, 4))) == {LOSS: 1}
