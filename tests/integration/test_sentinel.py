"""A real primary, its replica and three sentinels: whoever is the primary is found, also while running."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from realtime.errors import Unavailable
from realtime.redis.client import Store, connect
from tests.change_stream import Publisher, publisher_to
from tests.gateway_fixture import QUICK_REDIS, Client, Gateway, eventually, running_gateway, settings_for
from tests.redis_servers.sentinels import SentinelPair

pytestmark = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def stream(pair: SentinelPair, database_url: str) -> AsyncIterator[tuple[Gateway, Publisher, Client]]:
    """A client of a gateway that has heard the first change of a table."""
    async with (
        running_gateway(settings_for(database_url, pair.url), timings=QUICK_REDIS) as gateway,
        publisher_to(gateway.settings) as publisher,
    ):
        await eventually(gateway.is_ready)
        async with gateway.client() as client:
            await client.subscribe("table:orders")
            await publisher.publish()
            assert await client.hear_rows(1) == [1]
            yield gateway, publisher, client


async def can_publish(publisher: Publisher) -> bool:
    try:
        await publisher.publish()
    except Unavailable:
        return False
    return True


async def value_of(store: Store, key: str) -> bytes | None:
    try:
        return await store.call("GET", key)
    except Unavailable:
        return None


async def test_a_sentinel_that_is_down_is_not_missed(pair):
    await pair.kill(pair.sentinels[0])
    async with connect(pair.url) as store:
        await store.call("SET", "name", "value")
        assert [str(server) for server in store.servers.all] == [await pair.primary()]


async def test_a_fail_over_that_was_asked_for_loses_nothing(pair, database_url):
    async with stream(pair, database_url) as (_, publisher, client):
        await pair.server(await pair.primary()).command("WAIT", 1, 20_000)
        await pair.failover()
        await eventually(lambda: can_publish(publisher))
        await publisher.publish(2)
        assert await client.hear_rows(publisher.published - 1) == list(range(2, publisher.published + 1))


@pytest.mark.parametrize("how", ["kill", "pause"])
async def test_a_primary_that_is_lost_is_replaced_without_a_restart(pair, how):
    primary = await pair.primary()
    async with connect(pair.url) as store:
        await store.call("SET", "name", "value")
        await pair.server(primary).command("WAIT", 1, 20_000)
        if how == "kill":
            await pair.kill(primary)
        else:
            pair.pause(primary)
        with pytest.raises(Unavailable):
            await store.call("GET", "name")

        async def found() -> bool:
            return await value_of(store, "name") == b"value"

        await eventually(found)


async def test_nobody_stays_with_a_primary_that_was_frozen_and_wakes_up(pair, database_url):
    async with stream(pair, database_url) as (gateway, publisher, client):
        frozen = await pair.primary()
        await pair.server(frozen).command("WAIT", 1, 20_000)
        pair.pause(frozen)
        await pair.wait_taken_over(frozen)
        pair.resume(frozen)
        await eventually(lambda: can_publish(publisher))
        await eventually(gateway.is_ready)
        await publisher.publish(2)
        message = await client.hear()
        while message["type"] == "resync" or message["data"]["id"] != publisher.published:
            message = await client.hear()
        await pair.wait_healthy()

        async def is_left() -> bool:
            return await pair.server(frozen).command("PUBSUB", "SHARDCHANNELS") == []

        await eventually(is_left)
