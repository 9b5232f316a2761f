"""An outbox over its bound gives up its oldest changes, and their subscribers are told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from notifier.feed.bounds import FeedBounds
from notifier.feed.publication_store import Chunk, PublicationStore
from notifier.feed.timings import FeedTimings
from notifier.sessions import connect
from realtime.channels import Table
from realtime.errors import Unavailable
from realtime.redis.history import History
from tests.expressions import value
from tests.notifier_fixture import (
    PROJECT,
    begins_anew,
    enable,
    insert,
    notifier,
    position,
    project_at,
    publisher_of,
    settings_at,
    witness,
)

USERS = Table("public", "users")
SHED = "realtime_notifier_shed_changes_total"


async def test_an_outbox_over_its_bound_gives_up_the_oldest_and_says_so(
    orders_url: str, redis_url: str, writer: Any
) -> None:
    await enable(orders_url, USERS)
    bounded = settings_at(redis_url, demo=project_at(orders_url, outbox_max_rows=10))
    async with witness(bounded) as seen:
        async with notifier(bounded):
            await insert(writer, 1)
            await insert(writer, 1, table=USERS)
            await seen.sees(1)
            await seen.sees(1, USERS)
        before, others = await position(seen), await position(seen, USERS)
        shed = value(SHED, project=PROJECT)
        await writer.execute("insert into orders select generate_series(2, 101), 'note'")
        async with notifier(bounded):
            await begins_anew(seen, before)
            await seen.sees(10)
            assert await seen.ids() == list(range(92, 102))
            await insert(writer, 102)
            await insert(writer, 2, table=USERS)
            await seen.sees(11)
            await seen.sees(2, USERS)
        assert (await position(seen, USERS)).epoch == others.epoch
        assert value(SHED, project=PROJECT) >= shed + 90


async def test_the_bound_may_be_one_of_bytes(orders_url: str, redis_url: str, writer: Any) -> None:
    bounded = settings_at(redis_url, demo=project_at(orders_url, outbox_max_bytes=20_000))
    await writer.execute("insert into orders select i, repeat('x', 5000) from generate_series(1, 20) i")
    async with witness(bounded) as seen, notifier(bounded):
        await seen.sees(3)
        assert await seen.ids() == [18, 19, 20]


class GoesAway(PublicationStore):
    """Is away for a moment in the middle of a batch."""

    calls = 0
    written = asyncio.Event()

    async def publish(self, project: str, token: str, chunks: Sequence[Chunk], history: History) -> int:
        self.calls += 1
        if self.calls == 4:
            await self.written.wait()
            raise Unavailable("away")
        return await super().publish(project, token, chunks, history)


async def test_a_batch_that_redis_has_in_part_is_within_the_bound_too(
    orders_url: str, redis_url: str, writer: Any
) -> None:
    """Its oldest changes, some of them published, are given up."""
    bounds = FeedBounds(small_batch=1, chunk_changes=10)
    bounded = settings_at(redis_url, demo=project_at(orders_url, outbox_max_rows=75))
    await writer.execute("insert into orders select generate_series(1, 70), 'note'")
    reader = await connect(orders_url)
    async with witness(bounded) as seen:
        store = GoesAway(seen.broker.store)
        publisher = publisher_of(bounded, store, reader, FeedTimings(shed_seconds=0.0), bounds)
        await publisher.begin()
        before = await position(seen)
        publishing = asyncio.create_task(publisher.publish_next())
        await seen.sees(30)
        await writer.execute("insert into orders select generate_series(71, 100), 'note'")
        GoesAway.written.set()
        await publishing
        await publisher.publish_next()
        await begins_anew(seen, before)
        assert await seen.ids() == list(range(26, 101))
    reader.terminate()
