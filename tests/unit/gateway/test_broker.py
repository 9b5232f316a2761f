"""What the broker makes of what Redis answers: pages, refusals, reports. For scripts: test_publish_script."""

from __future__ import annotations

import pytest

from gateway.broker import Broker, Post
from realtime import names
from realtime.errors import Unavailable
from realtime.publications import Position
from realtime.redis.client import Store
from realtime.redis.history import History
from realtime.settings.config import Settings
from tests import topics

ROOM, HALL = "broadcast:room:a", "broadcast:room:b"
HISTORY = History(100, 60)


@pytest.fixture
def broker(store: Store) -> Broker:
    return Broker(store, Settings())


async def publish(broker: Broker, *lines: str, topic: str = ROOM, history: History = HISTORY) -> None:
    """Publish lines as one."""
    (taken,) = await topics.broadcast(
        broker, [Post("demo", topic, [line.encode() for line in lines], history)]
    )
    assert isinstance(taken, int)


async def kept(broker: Broker, since: Position, topic: str = ROOM) -> list[bytes] | None:
    until = await broker.position("demo", topic)
    missed = await topics.missed(broker, "demo", topic, since, until)
    return None if missed is None else [line for one in missed for line in one.lines]


async def test_what_was_missed_is_read_in_pages_and_begins_within_a_publication(store: Store) -> None:
    broker = Broker(store, Settings(), page_bytes=1)
    for lines in ("abc", "def", "ghi"):
        await publish(broker, *lines)
    epoch = (await broker.position("demo", ROOM)).epoch
    assert await kept(broker, Position(epoch, 2)) == [b"c", b"d", b"e", b"f", b"g", b"h", b"i"]
    assert await kept(broker, Position(epoch, 9)) == []


async def test_history_that_does_not_reach_or_is_anothers_is_none(broker: Broker) -> None:
    for line in "abcd":
        await publish(broker, line, history=History(2, 60))
    epoch = (await broker.position("demo", ROOM)).epoch
    assert await kept(broker, Position(epoch, 2)) == [b"c", b"d"]
    assert await kept(broker, Position(epoch, 1)) is None
    assert await kept(broker, Position(epoch, 5)) is None
    assert await kept(broker, Position("another", 3)) is None


async def test_a_post_that_redis_refuses_has_its_reason_and_the_others_are_published(
    broker: Broker, store: Store
) -> None:
    await store.call("SET", names.topic_meta("demo", ROOM), "no hash")
    posts = [Post("demo", topic, [b"hello"], HISTORY) for topic in (ROOM, HALL)]
    refused, taken = await topics.broadcast(broker, posts)
    assert isinstance(refused, Unavailable)
    assert isinstance(taken, int)
    beginning = Position((await broker.position("demo", HALL)).epoch, 0)
    assert await kept(broker, beginning, HALL) == [b"hello"]


async def test_an_empty_topic_is_forgotten_and_another_is_not(broker: Broker) -> None:
    await publish(broker, "a")
    full, empty = await broker.position("demo", ROOM), await broker.position("demo", HALL)
    await broker.forget_empty([("demo", ROOM), ("demo", HALL)])
    assert await broker.position("demo", ROOM) == full
    assert (await broker.position("demo", HALL)).epoch != empty.epoch


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
