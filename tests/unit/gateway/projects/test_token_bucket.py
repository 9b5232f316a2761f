"""A token bucket: what may be taken when, and for how long nothing may."""

from __future__ import annotations

import pytest

from gateway.projects.token_bucket import Bucket

NOW = 1_000.0


def test_a_burst_may_come_at_once_and_then_the_rate() -> None:
    bucket = Bucket(rate=10, burst=20, now=NOW)
    assert [bucket.take(NOW) for _ in range(21)] == [True] * 20 + [False]
    assert [bucket.take(NOW + 0.5) for _ in range(6)] == [True] * 5 + [False]


def test_a_long_silence_brings_no_more_than_a_burst() -> None:
    bucket = Bucket(rate=10, burst=20, now=NOW)
    assert sum(bucket.take(NOW + 3_600) for _ in range(100)) == 20


def test_what_is_not_there_as_a_whole_is_not_taken() -> None:
    bucket = Bucket(rate=10, burst=20, now=NOW)
    assert not bucket.take(NOW, 20.5)
    assert bucket.take(NOW, 20)


def test_it_says_when_the_next_can_be_taken() -> None:
    bucket = Bucket(rate=4, burst=1, now=NOW)
    assert bucket.seconds_to_next() == 0
    bucket.take(NOW)
    assert not bucket.take(NOW)
    wait = bucket.seconds_to_next()
    assert wait == 0.25
    assert not bucket.take(NOW + wait / 2)
    assert bucket.take(NOW + wait)


def test_a_clock_that_goes_back_brings_nothing() -> None:
    bucket = Bucket(rate=10, burst=1, now=NOW)
    assert bucket.take(NOW)
    assert not bucket.take(NOW - 5)
    assert not bucket.take(NOW - 5)


@pytest.mark.parametrize(("after", "is_full"), [(0.0, False), (0.4, False), (0.5, True), (9.0, True)])
def test_it_is_full_when_what_was_taken_came_back(after: float, is_full: bool) -> None:
    bucket = Bucket(rate=2, burst=3, now=NOW)
    assert bucket.is_full(NOW)
    bucket.take(NOW)
    assert bucket.is_full(NOW + after) is is_full


def test_it_knows_which_rate_it_was_made_for() -> None:
    bucket = Bucket(rate=2, burst=3, now=NOW)
    assert bucket.is_for(2, 3)
    assert not bucket.is_for(3, 3)
    assert not bucket.is_for(2, 4)
