"""How the waits between tries grow, and when they are short again."""

from __future__ import annotations

from realtime.waiting.backoff import Backoff


def test_each_wait_is_twice_as_long_as_the_one_before_up_to_the_last() -> None:
    backoff = Backoff(0.5, 3.0)
    assert [backoff.next() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_waits_begin_anew_when_a_try_went_well() -> None:
    backoff = Backoff(0.5, 3.0)
    for _ in range(4):
        backoff.next()
    backoff.reset()
    assert [backoff.next() for _ in range(2)] == [0.5, 1.0]


def test_it_tells_how_long_the_next_wait_is() -> None:
    backoff = Backoff(0.5, 3.0)
    backoff.next()
    assert repr(backoff) == "<Backoff 1 of 3 s>"
