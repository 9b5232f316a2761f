"""How many empty topics a connection and a project have left behind, as time goes by."""

from __future__ import annotations

import pytest

from gateway.delivery.left_behind import LeftBehind

SECONDS = 10.0


@pytest.fixture
def left() -> LeftBehind:
    left = LeftBehind(SECONDS)
    for number in range(4):
        left.add(("demo", f"room:{number}"), "ann", now=number)
    left.add(("other", "room:0"), "bob", now=0)
    return left


def test_a_connection_is_told_apart_from_others(left):
    assert [left.made_by(who, now=3) for who in ("ann", "bob", "eve")] == [4, 1, 0]


def test_what_is_gone_in_redis_is_forgotten(left):
    assert [left.made_by("ann", now) for now in (SECONDS - 0.1, SECONDS, SECONDS + 2, SECONDS + 3)] == [
        4,
        3,
        1,
        0,
    ]
    assert repr(left) == "<LeftBehind 0 topics of 0 connections>"


def test_a_topic_where_somebody_is_again_is_not_left(left):
    left.remove(("demo", "room:1"))
    left.remove(("demo", "room:never"))
    left.remove(("never", "room:1"))
    assert left.made_by("ann", now=3) == 3


def test_a_topic_that_is_left_again_is_there_for_longer_and_is_whose_was_the_last(left):
    left.add(("demo", "room:0"), "bob", now=9)
    assert [left.made_by(who, now=9) for who in ("ann", "bob")] == [3, 2]
    assert left.made_by("bob", now=SECONDS + 8) == 1


def test_the_oldest_of_a_project_go_first_and_the_other_project_keeps_its_own(left):
    assert left.oldest_beyond(4, "demo", now=3) == []
    assert left.oldest_beyond(2, "demo", now=3) == [("demo", "room:0"), ("demo", "room:1")]
    assert [left.made_by(who, now=3) for who in ("ann", "bob")] == [2, 1]
    assert left.oldest_beyond(2, "never", now=3) == []
