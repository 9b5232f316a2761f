"""When a chain falls behind, and the search for the highest rate that it keeps."""

from __future__ import annotations

import pytest

from bench.chains import Turn, growth
from bench.commits import Written
from bench.end_to_end import MOST, highest, kept

SECOND = 1_000_000_000


def turn(*latencies: float, missing: int = 0, rate: float = 100) -> Turn:
    """A change every second."""
    late = [(number * SECOND, ms) for number, ms in enumerate(latencies)]
    return Turn(Written({}, rate), late, missing, {})


def test_latencies_that_stay_do_not_grow() -> None:
    assert growth(turn(5, 9, 5, 5, 9, 5).late) == 0
    assert kept(turn(5, 9, 5, 5, 9, 5), 100)


def test_latencies_that_grow_with_time_fall_behind() -> None:
    behind = turn(0, 100, 200, 300, 400, 500)
    assert growth(behind.late) == pytest.approx(0.1)
    assert behind.falls_behind
    assert not kept(behind, 100)


def test_what_did_not_come_is_behind() -> None:
    assert not kept(turn(5, 5, 5, missing=1), 100)


def test_a_rate_that_writers_do_not_reach_is_not_kept() -> None:
    assert not kept(turn(5, 5, 5, rate=90), 100)


@pytest.mark.parametrize("limit", [1, 7, 500, 777, 3_999, MOST])
async def test_the_highest_rate_is_found_to_within_a_tenth(limit: int) -> None:
    async def keeps(rate: int) -> bool:
        return rate <= limit

    assert limit * 0.9 <= await highest(keeps, 500) <= limit


async def test_nothing_is_kept() -> None:
    async def keeps(rate: int) -> bool:
        return False

    assert await highest(keeps, 500) == 0
