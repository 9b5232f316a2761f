"""How fast a connection is read: never slower than its rate, and never much faster than a multiple of it."""

from __future__ import annotations

import pytest

from gateway.websocket.pace import LARGEST_AS_FRAMES, PACE, PACE_STEP, SLOWEST_PACE, Pace

NOW = 1_000.0
LARGEST = 65_536


def frames_read(rate: float, seconds: float, size: int = 0) -> int:
    """How many frames of this size are read in this time of a client that sends as fast as it can."""
    pace, now, count = Pace.of_client(rate, LARGEST, NOW), NOW, 0
    while now < NOW + seconds:
        if wait := pace.seconds_to_wait(now):
            now += wait
        else:
            pace.spend(1, size)
            count += 1
    return count


@pytest.mark.parametrize("rate", [1.0, 100.0, 1_000.0])
def test_a_flood_is_read_at_a_multiple_of_the_rate(rate: float) -> None:
    pace = max(SLOWEST_PACE, PACE * rate)
    count = frames_read(rate, seconds=20)
    assert 20 * pace <= count <= 22 * pace + PACE_STEP


def test_twice_the_rate_of_the_largest_messages_is_read_whatever_the_rate() -> None:
    rate = SLOWEST_PACE / PACE
    assert frames_read(rate, 20, LARGEST) >= 20 * PACE * rate / (LARGEST_AS_FRAMES + 1) - 1


@pytest.mark.parametrize("size", [0, LARGEST])
def test_a_client_within_its_rate_never_waits(size: int) -> None:
    rate = 200.0
    pace, now = Pace.of_client(rate, LARGEST, NOW), NOW
    for _ in range(2_000):
        assert pace.seconds_to_wait(now) == 0
        pace.spend(1, size)
        now += 1 / rate


def test_after_a_wait_a_step_of_frames_is_read_at_once() -> None:
    pace = Pace.of_client(100.0, LARGEST, NOW)
    pace.seconds_to_wait(NOW)
    pace.spend(10_000, 0)
    wait = pace.seconds_to_wait(NOW)
    assert wait == pytest.approx((10_000 - 2_000 + PACE_STEP) / 1_000)
    for _ in range(PACE_STEP - 1):
        pace.spend(1, 0)
        assert pace.seconds_to_wait(NOW + wait) == 0
    pace.spend(2, 0)
    assert pace.seconds_to_wait(NOW + wait) > 0


def test_a_clock_that_goes_back_lets_nothing_in() -> None:
    pace = Pace.of_client(100.0, LARGEST, NOW)
    pace.spend(2_000, 0)
    assert pace.seconds_to_wait(NOW - 60) > 0
    assert pace.seconds_to_wait(NOW - 60) > 0
