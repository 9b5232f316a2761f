import json
from typing import Any, cast

import pytest

from notifier.errors import RowsMoved
from notifier.feed.bounds import FeedBounds
from notifier.feed.feed import Feed
from realtime.channels import Table

CHUNK_BYTES, CHUNK_CHANGES = FeedBounds().chunk_bytes, FeedBounds().chunk_changes
COMMITTED = "2024-05-01T10:00:00.000000Z"


class Outbox:
    """Stands where the database does: rows of the present batch, by page and by place."""

    def __init__(self, changes: list[tuple[str, str, int]]) -> None:
        self.rows = [(number, *change) for number, change in enumerate(changes, 1)]
        self.fetched: list[list[int]] = []
        self._at = 0

    def transaction(self, isolation: str | None, readonly: bool):
        assert readonly
        return self

    async def start(self):
        pass

    async def commit(self):
        pass

    async def rollback(self):
        pass

    async def cursor(self, *_arguments):
        return self

    async def fetch(self, *arguments, timeout=None):
        match arguments:
            case (count,):  # the cursor
                page = self.rows[self._at : self._at + count]
                self._at += len(page)
                return [(number, size, (0, number)) for number, _, _, size in page]
            case (_, _, _, _, count):  # a batch that may be small
                return [(number, size, (0, number)) for number, _, _, size in self.rows[:count]]
            case (_, ctid, token, *_) if ctid == (0, 0):  # the next batch, of which there is none
                return [{"moved_to": None, "found": token, "snapshot": "1:1:", "is_whole": False}]
        _, ctids, _ = arguments
        ids = [number for _, number in ctids]
        self.fetched.append(ids)
        wanted = set(ids)
        return [
            (number, schema, name, "INSERT", f'{{"id": {number}}}', None, False, COMMITTED)
            for number, schema, name, _ in self.rows
            if number in wanted
        ]


async def read(outbox: Outbox):
    return [chunks async for chunks in Feed(cast(Any, outbox)).chunks()]


def users(*sizes: int) -> Outbox:
    return Outbox([("public", "users", size) for size in sizes])


async def test_an_empty_batch_has_no_chunks():
    assert await read(users()) == []


async def test_small_changes_travel_together():
    outbox = users(10, 20, 30)
    [[chunk]] = await read(outbox)
    assert (chunk.topic, chunk.ids) == ("table:public.users", [1, 2, 3])
    assert [json.loads("{" + line[1:] + "}")["data"] for line in chunk.lines] == [
        {"id": n} for n in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    ("sizes", "slices"),
    [
        ([CHUNK_BYTES], [[1]]),
        ([CHUNK_BYTES - 1, 1], [[1, 2]]),
        ([CHUNK_BYTES - 1, 2], [[1], [2]]),
        ([CHUNK_BYTES + 1], [[1]]),
        ([1, CHUNK_BYTES + 1, 1], [[1], [2], [3]]),
        ([9 * CHUNK_BYTES, 9 * CHUNK_BYTES], [[1], [2]]),
        ([CHUNK_BYTES // 2] * 5, [[1, 2], [3, 4], [5]]),
        ([2, 2, 2], [[1, 2, 3]]),
    ],
)
async def test_no_read_is_over_the_bound_unless_it_is_one_change(sizes, slices):
    outbox = users(*sizes)
    await read(outbox)
    assert outbox.fetched == slices


async def test_no_call_has_more_changes_than_the_bound():
    outbox = users(*[1] * (2 * CHUNK_CHANGES + 1))
    await read(outbox)
    assert [len(ids) for ids in outbox.fetched] == [CHUNK_CHANGES, CHUNK_CHANGES, 1]
    assert [number for ids in outbox.fetched for number in ids] == list(range(1, 2 * CHUNK_CHANGES + 2))


@pytest.mark.parametrize("there_now", [[], [1, 3], [1, 2, 3, 4], [1, 2, 4]])
async def test_rows_that_moved_since_the_batch_was_listed_are_not_taken_for_it(there_now: list[int]) -> None:
    outbox = users(1, 1, 1)
    fetch = outbox.fetch

    async def fetch_moved(*arguments: Any, timeout: float | None = None) -> Any:
        found = await fetch(*arguments, timeout=timeout)
        return found if len(arguments) != 3 else [(number, *found[0][1:]) for number in there_now]

    outbox.fetch = fetch_moved  # type: ignore[method-assign]
    with pytest.raises(RowsMoved):
        await read(outbox)


async def test_changes_of_several_tables_are_parted_by_topic_and_keep_their_order():
    outbox = Outbox([("public", "a", 1), ("public", "b", 1), ("public", "a", 1), ("other", "a", 1)])
    [chunks] = await read(outbox)
    assert {chunk.topic: chunk.ids for chunk in chunks} == {
        "table:public.a": [1, 3],
        "table:public.b": [2],
        "table:other.a": [4],
    }
    assert all(len(chunk.ids) == len(chunk.lines) for chunk in chunks)


async def test_an_odd_table_travels_under_its_own_topic():
    outbox = Outbox([("a.b", "c:d", 1), ("a", "b.c:d", 1)])
    [chunks] = await read(outbox)
    assert [chunk.topic for chunk in chunks] == [Table("a.b", "c:d").topic, Table("a", "b.c:d").topic]


async def test_a_feed_does_not_move_when_the_database_stored_no_batch():
    feed = Feed(cast(Any, users()))
    before = (feed.token, feed.s1, feed.s2)
    assert await feed.take() is False
    assert (feed.token, feed.s1, feed.s2) == before
