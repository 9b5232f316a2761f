"""What rows of the outbox mean: topics, the beginnings of lines, and how many are read at once."""

from __future__ import annotations

import random
from typing import Any

import pytest

from notifier.feed.outbox_rows import slices, table_facts, topics_of
from realtime.channels import Event, Table
from realtime.publications import line_prefix


def shed(schema: str | None, name: str | None, raw: tuple[bytes, bytes] | None = None) -> dict[str, Any]:
    raw_schema, raw_table = raw or (None, None)
    return {"schema_name": schema, "table_name": name, "raw_schema": raw_schema, "raw_table": raw_table}


def test_a_table_has_one_topic_and_the_beginning_of_a_line_for_each_event() -> None:
    topic, prefixes = table_facts("public", "orders")
    table = Table("public", "orders")
    assert topic == table.topic
    assert prefixes == {str(event.value): line_prefix(table, event) for event in Event}
    assert len(set(prefixes.values())) == len(Event)


@pytest.mark.parametrize(
    ("sizes", "most", "expected"),
    [
        ([], 10, []),
        ([3], 10, [[1]]),
        ([5, 5], 10, [[1, 2]]),
        ([5, 6], 10, [[1], [2]]),
        ([11], 10, [[1]]),
        ([1, 11, 1], 10, [[1], [2], [3]]),
        ([0, 0, 0], 1, [[1, 2, 3]]),
    ],
)
def test_changes_are_cut_where_a_piece_would_become_too_large(
    sizes: list[int], most: int, expected: list[list[int]]
) -> None:
    assert slices(enumerate(sizes, 1), most) == expected


@pytest.mark.parametrize("seed", range(20))
def test_no_change_is_lost_or_moved_and_no_piece_is_too_large(seed: int) -> None:
    dice = random.Random(seed)
    changes = [(number, dice.randint(0, 30)) for number in range(dice.randint(1, 200))]
    sizes, most = dict(changes), dice.randint(1, 60)
    pieces = slices(changes, most)
    assert [number for piece in pieces for number in piece] == list(sizes)
    weights = [sum(sizes[number] for number in piece) for piece in pieces]
    assert all(weight <= most or len(piece) == 1 for weight, piece in zip(weights, pieces, strict=True))
    firsts = [sizes[piece[0]] for piece in pieces]
    assert all(weight + first > most for weight, first in zip(weights, firsts[1:], strict=False))


def test_topics_of_rows_that_were_left_out_are_named_in_order() -> None:
    rows = [shed("public", "orders"), shed(None, None, (b"public", "Märkte".encode()))]
    assert list(topics_of(rows)) == [Table("public", "orders").topic, Table("public", "Märkte").topic]


def test_a_name_that_is_no_text_has_no_topic_and_hides_no_other() -> None:
    rows = [shed(None, None, (b"public", b"\xff\xfe")), shed("public", "orders")]
    assert list(topics_of(rows)) == [Table("public", "orders").topic]
