"""A pool that was closed has no connection any more, whoever still uses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from realtime.errors import Unavailable
from realtime.redis_pool import server_client
from realtime.redis_url import parse_redis_url
from realtime.store import connect
from tests.gateway_fixture import eventually

pytestmark = pytest.mark.standalone

TURNS = range(12)  # of the event loop: connecting takes fewer


@asynccontextmanager
async def pool_at(redis_url: str) -> AsyncIterator[Redis]:
    """Someone's pool; in the end the server has no connection but the one that asks."""
    async with Redis.from_url(redis_url) as witness:

        async def alone() -> bool:
            return len(await witness.client_list()) == 1

        await eventually(alone)
        url = parse_redis_url(redis_url)
        yield server_client(url, url.hosts[0])
        await eventually(alone)


@pytest.mark.parametrize("turns", TURNS)
async def test_a_pool_that_is_closed_while_it_connects_keeps_no_connection(
    redis_url: str, turns: int
) -> None:
    async with pool_at(redis_url) as pool:
        call = asyncio.create_task(pool.ping())
        for _ in range(turns):
            await asyncio.sleep(0)
        await pool.aclose()
        with suppress(RedisConnectionError):
            await call


async def test_a_closed_pool_connects_no_more(redis_url: str) -> None:
    async with pool_at(redis_url) as pool:
        await pool.aclose()
        with pytest.raises(RedisConnectionError):
            await pool.ping()


async def test_a_connection_that_was_used_before_connects_no_more(redis_url: str) -> None:
    async with pool_at(redis_url) as pool:
        await pool.ping()
        await pool.aclose()
        with pytest.raises(RedisConnectionError):
            await pool.ping()


async def test_a_subscription_ends_with_its_pool(redis_url: str) -> None:
    """One that is held: redis-py connects it anew by itself when it sends the next time."""
    async with pool_at(redis_url) as pool:
        pubsub = pool.pubsub()
        await pubsub.ssubscribe("here")
        await pool.aclose()
        with pytest.raises(RedisConnectionError):
            await pubsub.ssubscribe("there")
        await pubsub.aclose()


async def test_a_closed_store_finds_no_new_server(redis_url: str) -> None:
    """As an answer that comes late would have it: its key moved there."""
    async with connect(redis_url) as store:
        known = store.servers.all[0]
    assert store.servers.at(known.address) is known
    with pytest.raises(Unavailable):
        store.servers.at(("127.0.0.1", known.address[1] + 1))
