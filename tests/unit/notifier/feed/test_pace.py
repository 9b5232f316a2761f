"""When writers ring, and how long the feed waits while they do not, on a clock of the test."""

from __future__ import annotations

import pytest

from notifier.feed.pace import DEFAULT_PACE, Look, Pace, PaceBounds


class Clock:
    """A feed that looks again and again; each look is noted when it ends."""

    def __init__(self, bounds: PaceBounds = DEFAULT_PACE) -> None:
        self.pace = Pace(bounds)
        self.now = 1_000.0

    def run(
        self, seconds: float, every: float, rings: int = 0, changes: int = 0, look: float = 0.001
    ) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += every
            self.pace.note(self.now, Look(rings, changes, look, look / 2))


@pytest.fixture
def clock() -> Clock:
    """At a feed that was loaded, had nothing to catch up with, and is rung."""
    clock = Clock()
    clock.run(0.2, 0.01)
    assert not clock.pace.is_silent
    return clock


def test_a_feed_begins_silent_and_stays_so_while_it_catches_up() -> None:
    clock = Clock()
    assert clock.pace.is_silent
    clock.run(1.0, 0.01, changes=50)
    assert clock.pace.is_silent


@pytest.mark.parametrize("rate", [1, 5, 50, 300, 390])
def test_few_commits_ring(clock: Clock, rate: int) -> None:
    clock.run(3.0, 1 / rate, rings=1, changes=1)
    assert not clock.pace.is_silent


def test_many_commits_do_not_ring_and_the_first_of_them_suffice(clock: Clock) -> None:
    began = clock.now
    while not clock.pace.is_silent:
        clock.run(0.001, 0.001, rings=1, changes=1)
    assert clock.now - began < DEFAULT_PACE.window
    clock.run(1.0, 0.001, changes=1)
    assert clock.pace.is_silent


def test_one_large_transaction_is_one_ring(clock: Clock) -> None:
    clock.run(1.0, 0.1, rings=1, changes=100_000)
    assert not clock.pace.is_silent


def test_on_a_slow_disk_few_commits_are_many(clock: Clock) -> None:
    """A hundred a second, one after the other, as the lock of NOTIFY lets them."""
    clock.run(0.2, 0.01, rings=1, changes=1, look=0.018)
    assert clock.pace.is_silent


def test_a_few_commits_are_no_load_however_slow_the_disk_is(clock: Clock) -> None:
    clock.run(5.0, 0.5, rings=1, changes=1, look=0.9)
    assert not clock.pace.is_silent


@pytest.mark.parametrize("rate", [250, 300, 350])
def test_between_the_bounds_the_mode_stays(clock: Clock, rate: int) -> None:
    clock.run(1.0, 1 / rate, rings=1, changes=1)
    assert not clock.pace.is_silent
    clock.run(0.1, 0.001, rings=1, changes=1)
    assert clock.pace.is_silent
    clock.run(1.0, 1 / rate, changes=1)
    assert clock.pace.is_silent


def test_the_bell_is_given_back_a_window_after_the_load(clock: Clock) -> None:
    clock.run(0.1, 0.001, rings=1, changes=1)
    clock.run(DEFAULT_PACE.window, 0.005, changes=10)
    began = clock.now
    assert clock.pace.is_silent
    while clock.pace.is_silent:
        clock.run(0.005, 0.005)
    assert clock.now - began <= 2 * DEFAULT_PACE.window


@pytest.mark.parametrize(
    ("look", "changes", "pause"),
    [
        (0.0005, 1, 0.002),
        (0.004, 0, 0.004),
        (0.004, 75, 0.005),
        (0.004, 150, 0.008),
        (0.004, 300, 0.02),
        (0.01, 200, 0.04),
        (0.5, 1, 0.04),
    ],
)
def test_the_pause_grows_with_what_a_look_takes_and_with_what_comes_meanwhile(
    look: float, changes: int, pause: float
) -> None:
    clock = Clock()
    clock.run(2.0, 0.02, changes=changes, look=look)
    assert clock.pace.pause == pytest.approx(pause)


def test_a_long_pause_does_not_lengthen_itself() -> None:
    """The same rate of changes, in batches ten times as large."""
    often, seldom = Clock(), Clock()
    often.run(2.0, 0.005, changes=20, look=0.003)
    seldom.run(2.0, 0.05, changes=200, look=0.003)
    assert often.pace.pause == pytest.approx(seldom.pace.pause)


def test_a_look_that_the_disk_held_up_does_not_count() -> None:
    clock = Clock()
    clock.run(0.2, 0.01, changes=50, look=0.003)
    before = clock.pace.pause
    clock.run(0.3, 0.3, changes=1_500, look=0.29)
    assert clock.pace.pause == pytest.approx(before)


def test_one_long_look_is_soon_forgotten() -> None:
    clock = Clock()
    clock.run(0.01, 0.01, changes=1_000_000, look=60.0)
    assert clock.pace.pause == DEFAULT_PACE.longest_pause
    clock.run(0.2, 0.01, changes=5)
    assert clock.pace.pause < DEFAULT_PACE.longest_pause / 10
