"""What stands in the row of a feed, or not: its schema's owner may have written anything there."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from notifier.feed.feed_row import MAX_TOKEN, UnreadableFeed, read_checkpoints, read_feed_row
from notifier.feed.snapshots import Snapshot

ROW: dict[str, Any] = {
    "ctid": (0, 1),
    "batch": 7,
    "token": "1f5a2c00.7-0a1b2c3d",
    "s1": "10:12:10,11",
    "s2": "20:20:",
    "elsewhere": False,
    "commit_times": True,
    "is_text": True,
}


def test_what_this_program_writes_is_read():
    row = read_feed_row(ROW)
    assert (row.ctid, row.number, row.token) == ((0, 1), 7, ROW["token"])
    assert (row.s1, row.s2) == (Snapshot(10, 12, (10, 11)), Snapshot(20, 20, ()))
    assert (row.elsewhere, row.commit_times, row.is_text) == (False, True, True)
    assert read_feed_row(ROW | {"batch": 0, "token": "", "s1": "1:1:", "s2": "1:1:"}).token == ""


WRONG: dict[str, list[object]] = {
    "batch": [None, "7", 7.0, Decimal("NaN"), Decimal(7), -1, True, b"7"],
    "token": [None, 7, b"x", "x" * (MAX_TOKEN + 1)],
    "s1": [None, "", "1:1", "a:b:", "1:2:x", "5:1:", "1:9:3,2", "1:9:2,2", b"1:1:", 1, "1" * 5_000 + ":1:"],
    "s2": [None, "no snapshot"],
}


@pytest.mark.parametrize(("column", "found"), [(name, one) for name, all_ in WRONG.items() for one in all_])
def test_anything_else_is_refused_by_name(column, found):
    with pytest.raises(UnreadableFeed) as refused:
        read_feed_row(ROW | {column: found})
    assert refused.value.where == f"feed.{column}"
    assert len(str(refused.value)) < 300


def test_checkpoints_are_texts():
    assert read_checkpoints([("table:public.orders", "a.1:5")]) == {"table:public.orders": "a.1:5"}
    for row in [(None, "a.1:5"), ("t", None), (5, "x"), ("t", b"x"), ("t", "x" * (MAX_TOKEN + 1))]:
        with pytest.raises(UnreadableFeed):
            read_checkpoints([row])
