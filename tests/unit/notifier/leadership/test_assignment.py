"""Which notifier is to lead which project."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from notifier.leadership.assignment import assign


def projects(count: int) -> list[str]:
    return [f"project-{number}" for number in range(count)]


def notifiers(count: int, seed: int = 0) -> list[str]:
    return [f"notifier-{seed}-{number}" for number in range(count)]


def loads(assigned: dict[str, str], fleet: Sequence[str]) -> list[int]:
    count = Counter(assigned.values())
    return sorted(count[one] for one in fleet)


@pytest.mark.parametrize("fleet_size", range(1, 9))
@pytest.mark.parametrize("count", [1, 2, 4, 7, 30, 100])
def test_two_notifiers_differ_by_one_project_at_most(fleet_size: int, count: int) -> None:
    for seed in range(5):
        fleet = notifiers(fleet_size, seed)
        assigned = assign(dict.fromkeys(projects(count), fleet))
        assert assigned.keys() == set(projects(count))
        assert max(loads(assigned, fleet)) - min(loads(assigned, fleet)) <= 1


def test_everybody_finds_the_same_whatever_the_order_of_what_they_know() -> None:
    dice = random.Random(1)
    fleet, names = notifiers(4), projects(30)
    able = {project: dice.sample(fleet, dice.randint(1, 4)) for project in names}
    expected = assign(able)
    for _ in range(20):
        dice.shuffle(names)
        assert (
            assign({project: dice.sample(able[project], len(able[project])) for project in names}) == expected
        )


@pytest.mark.parametrize("fleet_size", [2, 3, 4, 8])
def test_a_newcomer_takes_its_share_and_little_else_moves(fleet_size: int) -> None:
    """The same holds, read backwards, for one that leaves."""
    count, moved = 100, 0
    for seed in range(20):
        fleet = notifiers(fleet_size + 1, seed)
        before = assign(dict.fromkeys(projects(count), fleet[:-1]))
        after = assign(dict.fromkeys(projects(count), fleet))
        moved += sum(before[project] != after[project] for project in projects(count))
    share = count // (fleet_size + 1)
    assert share <= moved / 20 <= 2 * share


def test_a_project_goes_only_to_those_that_are_able() -> None:
    able = {"one": ["a"], "two": ["a", "b"], "three": ["a", "b"], "four": ["b"], "none": []}
    assigned = assign(able)
    assert assigned.keys() == able.keys() - {"none"}
    assert all(notifier in able[project] for project, notifier in assigned.items())
    assert loads(assigned, "ab") == [2, 2]


def test_where_not_all_can_lead_all_the_load_is_as_even_as_it_can_be() -> None:
    """`a` can only be relieved through `b`, which gives one of its own to `c`."""
    able = {"1": ["a"], "2": ["a"], "3": ["a", "b"], "4": ["b", "c"], "5": ["b", "c"], "6": ["b", "c"]}
    assert loads(assign(able), "abc") == [2, 2, 2]


def most_even(able: dict[str, list[str]], fleet: Sequence[str]) -> int:
    """The least sum of squared loads, by trying everything."""
    sums = [0] if not able else []
    names = list(able)

    def place(index: int, load: Counter[str]) -> None:
        if index == len(names):
            sums.append(sum(load[one] ** 2 for one in fleet))
            return
        for one in able[names[index]]:
            load[one] += 1
            place(index + 1, load)
            load[one] -= 1

    place(0, Counter())
    return min(sums)


def test_no_assignment_is_more_even() -> None:
    dice = random.Random(3)
    for _ in range(200):
        fleet = notifiers(dice.randint(1, 4), dice.randrange(1000))
        able = {
            project: dice.sample(fleet, dice.randint(1, len(fleet)))
            for project in projects(dice.randint(1, 6))
        }
        load = Counter(assign(able).values())
        assert sum(load[one] ** 2 for one in fleet) == most_even(able, fleet), able
