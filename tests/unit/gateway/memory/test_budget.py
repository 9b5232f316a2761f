"""What waits for clients, counted once however many share it, and who goes when it is too much."""

from __future__ import annotations

import random

import pytest

from gateway.memory.allocator import Trimmer, find_trim
from gateway.memory.budget import PIECE_OVERHEAD, REFERENCE_BYTES, Count, Debtor, ReadRates

KIB = 1024
BURST = [bytes([number]) * KIB for number in range(100)]


def counted(*debtors: Debtor[str]) -> Count[str]:
    count: Count[str] = Count()
    for debtor in debtors:
        count.add(debtor)
    return count


def waits_for(who: str, pieces: list[bytes], own: int = 0, rate: float | None = 0.0) -> Debtor[str]:
    return Debtor(who, own, pieces, sum(map(len, pieces)), rate)


def size(pieces: int, references: int) -> int:
    return pieces * (KIB + PIECE_OVERHEAD) + references * REFERENCE_BYTES


def test_what_many_wait_for_counts_once():
    count = counted(*(waits_for(str(number), BURST) for number in range(50)))
    assert count.total == size(100, 5_000)
    assert count.largest == 100 * KIB


def test_what_looks_the_same_and_is_not_shared_counts_each_time():
    count = counted(*(waits_for(who, [b"x" * KIB + who.encode()][:1]) for who in "abc"))
    assert count.total > 3 * KIB


def test_what_is_remembered_counts_once_with_those_who_wait_for_it():
    count: Count[str] = Count()
    count.add_pieces(BURST)
    count.add(waits_for("a", BURST[:50]))
    assert count.total == size(100, 50)


def test_within_the_budget_nobody_goes():
    count = counted(waits_for("a", BURST), waits_for("b", BURST[50:], own=KIB))
    assert list(count.to_close(count.total)) == []


def test_the_largest_of_those_who_read_nothing_go_first_and_no_more_than_must():
    count = counted(*(waits_for(f"own {n}", [], own=n * KIB) for n in range(1, 11)))
    assert list(count.to_close(count.total - 12 * KIB)) == ["own 10", "own 9"]


def test_who_reads_stays_though_more_waits_for_it():
    healthy = waits_for("healthy", BURST, rate=5_000_000.0)
    asleep = [waits_for(f"asleep {n}", [], own=30 * KIB) for n in range(5)]
    count = counted(healthy, *asleep)
    assert list(count.to_close(size(100, 100) + 30 * KIB)) == [f"asleep {n}" for n in range(4)]


def test_of_those_who_read_goes_who_would_take_longest():
    slow, fast = waits_for("slow", BURST, own=KIB, rate=1_000.0), waits_for("fast", BURST, rate=100_000.0)
    assert list(counted(fast, slow).to_close(size(100, 100))) == ["slow"]


def test_who_has_only_just_come_to_wait_stays_this_time():
    count = counted(waits_for("new", BURST, rate=None), waits_for("old", [], own=KIB))
    assert list(count.to_close(0)) == ["old"]


def test_shared_bytes_are_free_when_the_last_who_waits_for_them_goes():
    count = counted(*(waits_for(who, BURST) for who in "abc"), waits_for("d", [], own=10))
    assert sorted(count.to_close(200)) == ["a", "b", "c"]
    assert count.total == 10


@pytest.mark.parametrize("seed", range(30))
def test_what_is_left_is_what_would_be_counted_without_those_who_went(seed):
    chance = random.Random(seed)
    debtors = [
        waits_for(
            str(n), chance.sample(BURST, chance.randint(0, 40)), chance.randint(0, 9_000), chance.random()
        )
        for n in range(30)
    ]
    count = counted(*debtors)
    budget = chance.randint(0, count.total)
    gone = set(count.to_close(budget))
    rest = counted(*(debtor for debtor in debtors if debtor.who not in gone))
    assert count.total == rest.total <= budget


# How fast somebody reads


def test_a_rate_is_known_at_the_second_look():
    rates: ReadRates[str] = ReadRates()
    assert rates.look("a", 1_000, 10.0) is None
    rates.forget_others()
    assert rates.look("a", 3_000, 11.0) == 2_000


def test_a_pause_makes_nobody_slow_at_once():
    rates: ReadRates[str] = ReadRates()
    for taken, now in ((0, 0.0), (8_000, 1.0), (8_000, 2.0)):
        rate = rates.look("a", taken, now)
        rates.forget_others()
    assert rate == 4_000
    for now in range(3, 20):
        rate = rates.look("a", 8_000, float(now))
        rates.forget_others()
    assert rate is not None
    assert rate < 1


def test_for_whom_nothing_waited_begins_anew():
    rates: ReadRates[str] = ReadRates()
    rates.look("a", 0, 0.0)
    rates.forget_others()
    rates.forget_others()
    assert rates.look("a", 5, 2.0) is None


def test_two_counts_in_one_look_find_the_same():
    rates: ReadRates[str] = ReadRates()
    rates.look("a", 0, 0.0)
    rates.forget_others()
    assert [rates.look("a", 100, 1.0), rates.look("a", 100, 1.0)] == [100, 100]


# What is given back to the system


def trimmed(*looks: tuple[int, float]) -> list[float]:
    """When memory was given back, by the megabytes that were held at some times."""
    found: list[float] = []
    now = 0.0
    trimmer = Trimmer(lambda: found.append(now))
    for held, now in looks:
        trimmer.look(held * 2**20, now)
    return found


def test_memory_is_given_back_when_much_became_free():
    assert trimmed((5, 1.0), (100, 2.0), (95, 3.0), (40, 4.0), (38, 60.0)) == [4.0]


def test_memory_is_given_back_again_only_after_a_while():
    ups_and_downs = [(100 * (n % 2), float(n)) for n in range(1, 21)]
    assert trimmed(*ups_and_downs) == [2.0, 8.0, 14.0, 20.0]


def test_what_became_free_too_soon_is_given_back_later():
    assert trimmed((100, 1.0), (50, 2.0), (0, 3.0), (0, 6.0), (0, 8.0), (0, 9.0)) == [2.0, 8.0]


def test_giving_back_harms_nothing():
    """Whatever the allocator is, the call returns."""
    find_trim()()
