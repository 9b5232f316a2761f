"""Cut many items into batches, by their number or by their weight. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

ItemT = TypeVar("ItemT")


def batches(items: Iterable[ItemT], most: int) -> Iterator[list[ItemT]]:
    """Cut items, in order, into batches of `most` items; the last batch may have fewer, and none is empty.

    Items are taken when they are needed: items that arrive while a batch is processed come in a later batch.
    """
    if most < 1:
        raise ValueError(f"batches of {most} items")
    rest = iter(items)
    while batch := list(islice(rest, most)):
        yield batch


def batches_by_weight(
    items: Iterable[ItemT], weigh: Callable[[ItemT], int], most: int
) -> Iterator[list[ItemT]]:
    """Cut items, in order, into batches of weight `most` at most; a heavier item is a batch of its own."""
    batch: list[ItemT] = []
    weight = 0
    for item in items:
        item_weight = weigh(item)
        if batch and weight + item_weight > most:
            yield batch
            batch, weight = [], 0
        batch.append(item)
        weight += item_weight
    if batch:
        yield batch
