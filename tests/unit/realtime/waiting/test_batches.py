"""How many items become batches: none lost, none twice, none too big."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.waiting.batches import batches, batches_by_weight


def itself(weight: int) -> int:
    return weight


@given(st.lists(st.integers(), max_size=50), st.integers(1, 10))
def test_batches_have_all_items_in_order_and_all_but_the_last_are_full(items: list[int], most: int) -> None:
    found = list(batches(items, most))
    assert [one for batch in found for one in batch] == items
    assert all(len(batch) == most for batch in found[:-1])
    assert all(0 < len(batch) <= most for batch in found)


def test_nothing_has_no_batch() -> None:
    assert list(batches([], 3)) == []
    assert list(batches_by_weight([], itself, 3)) == []


@pytest.mark.parametrize("most", [0, -1])
def test_batches_of_nothing_are_refused(most: int) -> None:
    with pytest.raises(ValueError, match="batches of"):
        next(batches([1], most))


def test_items_are_taken_as_they_are_needed() -> None:
    waiting = deque([1, 2, 3])

    def taken() -> Iterator[int]:
        while waiting:
            yield waiting.popleft()

    cut = batches(taken(), 2)
    assert next(cut) == [1, 2]
    waiting.append(4)
    assert list(cut) == [[3, 4]]


@given(st.lists(st.integers(0, 20), max_size=50), st.integers(1, 15))
def test_batches_by_weight_have_all_items_in_order_and_none_is_too_heavy(
    weights: list[int], most: int
) -> None:
    found = list(batches_by_weight(weights, itself, most))
    assert [one for batch in found for one in batch] == weights
    assert all(sum(batch) <= most or len(batch) == 1 for batch in found)
    # No batch ends earlier than it has to.
    assert all(sum(batch) + later[0] > most for batch, later in pairwise(found))


@pytest.mark.parametrize(
    ("weights", "most", "expected"),
    [
        ([3], 10, [[3]]),
        ([5, 5], 10, [[5, 5]]),
        ([5, 6], 10, [[5], [6]]),
        ([11], 10, [[11]]),
        ([1, 11, 1], 10, [[1], [11], [1]]),
        ([0, 0, 0], 1, [[0, 0, 0]]),
    ],
)
def test_batches_by_weight_are_cut_where_one_would_become_too_heavy(
    weights: list[int], most: int, expected: list[list[int]]
) -> None:
    assert list(batches_by_weight(weights, itself, most)) == expected
