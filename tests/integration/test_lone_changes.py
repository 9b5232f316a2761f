"""A lone change is sent to Redis without waiting: the feed goes on after Redis has it, whatever fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from notifier.feed.publisher import Publisher
from notifier.sessions import connect
from realtime import names
from tests.change_stream import DEADLINE
from tests.gateway_fixture import eventually, stays
from tests.notifier_fixture import (
    ORDERS,
    PROJECT,
    Witness,
    begins_anew,
    insert,
    position,
    project_at,
    publisher_of,
    settings_at,
    witness,
)

PAUSE_MS = 600_000  # longer than any test


class Lone:
    """A publisher that has published change 1; `failed` is set when Redis did not take a change."""

    def __init__(self, publisher: Publisher, seen: Witness, redis: Redis) -> None:
        self.publisher = publisher
        self.seen = seen
        self.redis = redis
        self.failed = asyncio.Event()
        publisher.on_failure = self.failed.set

    async def sends(self) -> None:
        assert await self.publisher.publish_next(may_leave=True) == 1
        assert self.publisher.sent is not None

    async def fails(self) -> None:
        """Wait until the publisher has asked to be called."""
        async with asyncio.timeout(DEADLINE):
            await self.failed.wait()


@pytest_asyncio.fixture
async def lone(orders_url: str, redis_url: str, writer: Any) -> AsyncIterator[Lone]:
    settings = settings_at(redis_url, demo=project_at(orders_url))
    reader = await connect(orders_url)
    async with witness(settings) as seen, Redis.from_url(redis_url) as redis:
        publisher = publisher_of(settings, seen.publications, reader)
        await publisher.begin()
        await insert(writer, 1)
        assert await publisher.publish_next(may_leave=True) == 1
        assert publisher.sent is None, "the topic has to be noted first"
        try:
            yield Lone(publisher, seen, redis)
        finally:
            await redis.client_unpause()
    reader.terminate()


async def test_each_lone_change_is_published_once_and_in_order(lone: Lone, writer: Any) -> None:
    for row_id in range(2, 30):
        await insert(writer, row_id)
        await lone.sends()
    await lone.publisher.confirm()
    assert await lone.seen.ids() == list(range(1, 30))
    assert lone.publisher.published == 29
    assert not lone.failed.is_set()


async def test_changes_that_come_together_are_waited_for(lone: Lone, writer: Any) -> None:
    await writer.execute("insert into orders values (2, 'a'), (3, 'b')")
    assert await lone.publisher.publish_next(may_leave=True) == 2
    assert lone.publisher.sent is None
    assert await lone.seen.ids() == [1, 2, 3]


async def test_no_batch_is_stored_before_redis_has_the_last_one(lone: Lone, writer: Any) -> None:
    stored = "select token from realtime.feed"
    await lone.redis.client_pause(PAUSE_MS, all=False)
    await insert(writer, 2)
    await lone.sends()
    token = await writer.fetchval(stored)
    await insert(writer, 3)
    following = asyncio.create_task(lone.publisher.publish_next(may_leave=True))

    async def waits() -> bool:
        return not following.done() and await writer.fetchval(stored) == token

    await stays(waits, 0.3)
    await lone.redis.client_unpause()
    assert await following == 1
    await lone.publisher.settle()
    assert await lone.seen.ids() == [1, 2, 3]


async def test_a_change_whose_connection_was_lost_is_published_again(lone: Lone, writer: Any) -> None:
    await lone.redis.client_pause(PAUSE_MS, all=False)
    await insert(writer, 2)
    await lone.sends()
    await lone.redis.client_kill_filter(_type="normal", skipme=True)
    await lone.fails()
    await lone.redis.client_unpause()
    await insert(writer, 3)
    assert await lone.publisher.publish_next() == 1
    assert await lone.seen.ids() == [1, 2, 3]


async def test_a_change_whose_answer_was_lost_is_not_published_twice(lone: Lone, writer: Any) -> None:
    await insert(writer, 2)
    await lone.sends()
    await lone.seen.sees(2)
    lost: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    lost.set_exception(ConnectionResetError())
    lone.publisher.sent = lost
    await lone.publisher.confirm()
    assert await lone.seen.ids() == [1, 2]


async def test_a_server_that_forgot_the_script_gets_it_again(lone: Lone, writer: Any) -> None:
    await lone.redis.script_flush()
    await insert(writer, 2)
    await lone.sends()
    await lone.fails()
    await lone.publisher.settle()
    assert await lone.seen.ids() == [1, 2]


async def test_a_topic_that_has_diverged_begins_anew(lone: Lone, writer: Any) -> None:
    before = await position(lone.seen)
    await lone.redis.hset(names.topic_meta(PROJECT, ORDERS.topic), "mark", "another:1")
    await insert(writer, 2)
    await lone.sends()
    await lone.fails()
    await lone.publisher.settle()
    await begins_anew(lone.seen, before)


@pytest.mark.parametrize("is_taken", [True, False])
async def test_an_answer_wakes_nobody_unless_something_failed(
    is_taken: bool, lone: Lone, writer: Any
) -> None:
    if not is_taken:
        await lone.redis.script_flush()
    await insert(writer, 2)
    await lone.sends()
    sent = lone.publisher.sent
    assert sent is not None
    await eventually(sent.done)
    await asyncio.sleep(0)
    assert lone.failed.is_set() is not is_taken
    await lone.publisher.settle()
