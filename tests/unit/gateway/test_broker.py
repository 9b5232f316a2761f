"""What the broker makes of what Redis answers: positions, pages, reports.

Redis is in memory here; `test_publish_script` runs the scripts on a real one.
"""

from __future__ import annotations

import pytest

from gateway.broker import Broker, Post
from notifier.feed.publication_store import Chunk, PublicationStore
from realtime import names
from realtime.errors import Unavailable
from realtime.publications import Position
from realtime.redis.client import Store
from realtime.redis.history import History
from realtime.settings.config import Settings

ORDERS, USERS, ROOM = "table:public.orders", "table:public.users", "broadcast:room:a"
HISTORY = History(100, 60)


@pytest.fixture
def publications(store: Store) -> PublicationStore:
    return PublicationStore(store)


@pytest.fixture
def broker(store: Store) -> Broker:
    return Broker(store, Settings())


def chunk(topic: str, *ids: int, after: str = "") -> Chunk:
    return Chunk(topic, after, list(ids), [str(change_id) for change_id in ids])


async def kept(broker: Broker, since: Position, topic: str = ORDERS) -> list[bytes] | None:
    until = await broker.position("demo", topic)
    missed = await broker.missed("demo", topic, since, until)
    return None if missed is None else [line for one in missed for line in one.lines]


async def test_what_was_missed_is_read_in_pages_and_begins_within_a_publication(
    publications: PublicationStore, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.broker.PAGE_BYTES", 1)
    for number in (1, 4, 7):
        after = f"b{number - 3}:{number - 1}" if number > 1 else ""
        ids = range(number, number + 3)
        await publications.publish("demo", f"b{number}", [chunk(ORDERS, *ids, after=after)], HISTORY)
    epoch = (await broker.position("demo", ORDERS)).epoch
    assert await kept(broker, Position(epoch, 2)) == [b"3", b"4", b"5", b"6", b"7", b"8", b"9"]
    assert await kept(broker, Position(epoch, 9)) == []


async def test_history_that_does_not_reach_or_is_anothers_is_none(
    publications: PublicationStore, broker: Broker
) -> None:
    for number in range(1, 5):
        after = f"b{number - 1}:{number - 1}" if number > 1 else ""
        await publications.publish("demo", f"b{number}", [chunk(ORDERS, number, after=after)], History(2, 60))
    epoch = (await broker.position("demo", ORDERS)).epoch
    assert await kept(broker, Position(epoch, 2)) == [b"3", b"4"]
    assert await kept(broker, Position(epoch, 1)) is None
    assert await kept(broker, Position(epoch, 5)) is None
    assert await kept(broker, Position("another", 3)) is None


async def test_a_post_that_redis_refuses_has_its_reason_and_the_others_are_published(
    broker: Broker, store: Store
) -> None:
    await store.call("SET", names.topic_meta("demo", ROOM), "no hash")
    posts = [Post("demo", topic, [b"hello"], HISTORY) for topic in (ROOM, "broadcast:room:b")]
    refused, taken = await broker.broadcast(posts)
    assert isinstance(refused, Unavailable)
    assert isinstance(taken, int)
    assert await kept(
        broker, Position((await broker.position("demo", posts[1].topic)).epoch, 0), posts[1].topic
    ) == [b"hello"]


async def test_an_empty_topic_is_forgotten_and_another_is_not(
    publications: PublicationStore, broker: Broker
) -> None:
    await publications.publish("demo", "b1", [chunk(ORDERS, 1)], HISTORY)
    empty, full = await broker.position("demo", USERS), await broker.position("demo", ORDERS)
    await broker.forget_empty([("demo", USERS), ("demo", ORDERS)])
    assert (await broker.position("demo", USERS)).epoch != empty.epoch
    assert await broker.position("demo", ORDERS) == full


@pytest.mark.parametrize(
    ("stored", "told"),
    [(b'{"state":"live"}', {"state": "live"}), (b"{", None), (b"[" * 100_000, None), (b"\xff", None)],
)
async def test_a_report_that_nobody_can_read_is_none(
    broker: Broker, store: Store, stored: bytes, told: object
) -> None:
    assert await broker.read_report("report") is None
    await store.call("SET", "report", stored)
    assert await broker.read_report("report") == told
