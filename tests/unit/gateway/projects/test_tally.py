"""What a node remembers of the clients of a project that have ended."""

from __future__ import annotations

from gateway.projects.tally import LATE_SECONDS, MOST_LATE, Tally


def test_slow_consumers_are_counted_for_ever_and_told_of_for_a_while():
    tally = Tally()
    for now in (0.0, 100.0, 200.0):
        tally.note_slow(now)
    assert (tally.slow_consumers, tally.slow_of_late(200.0)) == (3, 3)
    assert tally.slow_of_late(LATE_SECONDS) == 3
    assert tally.slow_of_late(LATE_SECONDS + 50) == 2
    assert (tally.slow_consumers, tally.slow_of_late(LATE_SECONDS + 201)) == (3, 0)


def test_the_memory_of_slow_consumers_has_a_bound():
    tally = Tally()
    for _ in range(MOST_LATE + 5):
        tally.note_slow(1.0)
    assert (tally.slow_consumers, tally.slow_of_late(1.0)) == (MOST_LATE + 5, MOST_LATE)
