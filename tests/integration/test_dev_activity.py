"""What `realtime dev` sees of a project: its newest changes and connections, as they stand in Redis."""

from __future__ import annotations

import pytest

from realtime import names
from realtime.channels import Event, Table
from realtime.dev import activity as module
from realtime.dev.activity import Activity, Seen
from realtime.publications import change_line, line_prefix
from realtime.redis.client import Store
from realtime.redis.history import new_epoch, topic_keys

USERS, LOGINS = Table("public", "users"), Table("audit", "log:ins")
EPOCH = new_epoch()


async def publish(store: Store, table: Table, *rows: str, epoch: str = EPOCH) -> None:
    """Append changes as `append_v2.lua` does."""
    prefix = line_prefix(table, Event.INSERT)
    lines = [change_line(prefix, row, None, "2026-01-31T12:00:00Z", False) for row in rows]
    meta, history = topic_keys("demo", table.topic)
    offset = int(await store.call("HINCRBY", meta, "offset", len(lines)))
    await store.call("HSET", meta, "epoch", epoch)
    publication = "\n".join([f"{epoch} {offset - len(lines) + 1}", *lines])
    await store.call("XADD", history, f"{offset}-1769860800000", "p", publication)
    await store.call("SADD", names.tables("demo"), table.topic)


async def rows(activity: Activity) -> list[str]:
    return [change.row for change in (await activity.read()).changes]


async def test_what_was_there_before_is_not_told_and_what_comes_is(store: Store) -> None:
    await publish(store, USERS, '{"id": 1}')
    activity = Activity(store, "demo")
    await activity.begin()
    assert await activity.read() == Seen()
    await publish(store, USERS, '{"id": 2}', '{"id": 3, "n": 0.10000000000000000001}')
    await publish(store, LOGINS, '{"id": 4}')
    seen = await activity.read()
    assert seen.change_count == 3
    assert {(change.table, change.row) for change in seen.changes} == {
        (USERS, '{"id":2}'),
        (USERS, '{"id":3,"n":0.10000000000000000001}'),
        (LOGINS, '{"id":4}'),
    }
    assert {change.at_ms for change in seen.changes} == {1769860800000}
    assert await activity.read() == Seen()


async def test_of_a_flood_the_newest_are_told_and_the_number_of_all(store: Store) -> None:
    activity = Activity(store, "demo")
    await activity.begin()
    for first in range(0, 3_000, 1_000):
        await publish(store, USERS, *(f'{{"id":{first + i}}}' for i in range(1_000)))
    seen = await activity.read()
    assert seen.change_count == 3_000
    assert [change.row for change in seen.changes] == [f'{{"id":{i}}}' for i in range(2_980, 3_000)]


async def test_a_new_epoch_begins_anew(store: Store) -> None:
    await publish(store, USERS, '{"id":1}', '{"id":2}')
    activity = Activity(store, "demo")
    await activity.begin()
    for key in topic_keys("demo", USERS.topic):
        await store.call("DEL", key)
    await publish(store, USERS, '{"id":3}', epoch=new_epoch())
    assert await rows(activity) == ['{"id":3}']


@pytest.mark.parametrize("row", ["no json", "[" * 100_000, '"' + "x" * 100_000 + '"'])
async def test_a_row_that_nobody_can_read_is_cut_and_told(store: Store, row: str) -> None:
    activity = Activity(store, "demo")
    await activity.begin()
    await publish(store, USERS, row)
    (row,) = await rows(activity)
    assert len(row) <= module.ROW_CHARACTERS


async def test_what_else_stands_in_redis_does_no_harm(store: Store) -> None:
    await store.call("SADD", names.tables("demo"), b"\xff", "nonsense", "room:a", "table:never")
    history = names.connection_history("demo")
    activity = Activity(store, "demo")
    await activity.begin()
    await store.call("XADD", history, "1-1", "e", b"\xff")
    await store.call("XADD", history, "1-2", "x", "y")
    await publish(store, USERS, '{"id":1}')
    seen = await activity.read()
    assert (len(seen.changes), seen.connections) == (1, [])


async def test_connections_are_told_once_and_in_pieces(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CONNECTIONS", 2)
    history = names.connection_history("demo")
    await store.call("XADD", history, "1-1", "e", '{"event":"connect","user_id":"before"}')
    activity = Activity(store, "demo")
    await activity.begin()
    for number in range(3):
        await store.call("XADD", history, f"{number + 2}-0", "e", f'{{"event":"connect","n":{number}}}')
    parts = [(await activity.read()).connections for _ in range(3)]
    assert [[one.facts["n"] for one in part] for part in parts] == [[0, 1], [2], []]
    assert parts[0][0].at_ms == 2
