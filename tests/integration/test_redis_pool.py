"""Connections to Redis: nothing comes back by itself, and a pool that was closed has none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from realtime.errors import Unavailable
from realtime.redis.client import Command, Store, connect
from realtime.redis.pool import CONNECTIONS, server_client
from realtime.redis.timings import RedisTimings
from realtime.settings.redis_url import parse_redis_url
from tests.gateway_fixture import eventually

pytestmark = pytest.mark.standalone

TURNS = range(12)  # of the event loop: connecting takes fewer


@asynccontextmanager
async def pool_at(redis_url: str, connections: int = CONNECTIONS) -> AsyncIterator[Redis]:
    """Someone's pool; in the end the server has no connection but the one that asks."""
    async with Redis.from_url(redis_url) as witness:

        async def alone() -> bool:
            return len(await witness.client_list()) == 1

        await eventually(alone)
        url = parse_redis_url(redis_url)
        yield server_client(url, url.hosts[0], connections=connections)
        await eventually(alone)


@pytest.mark.parametrize("turns", TURNS)
async def test_a_pool_that_is_closed_while_it_connects_keeps_no_connection(
    redis_url: str, turns: int
) -> None:
    """The fixture waits until the server has no connection of the pool."""
    async with pool_at(redis_url) as pool:
        call = asyncio.ensure_future(pool.ping())
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


async def test_a_subscription_that_was_lost_does_not_come_back_by_itself(redis_url: str) -> None:
    """Whoever listens has to know that messages may be missed."""
    async with pool_at(redis_url) as pool, pool.pubsub() as pubsub, Redis.from_url(redis_url) as killer:

        async def subscribe() -> bool:
            await pubsub.ssubscribe("there")
            return not await killer.client_list(_type="pubsub")

        async def read_on() -> None:
            while True:
                await pubsub.get_message(timeout=30)

        await pubsub.ssubscribe("here")
        await killer.client_kill_filter(_type="pubsub")
        assert await subscribe()  # nothing tells yet that the connection is gone
        with pytest.raises(RedisConnectionError):
            await read_on()
        for _ in TURNS:
            with suppress(RedisConnectionError):
                assert await subscribe()
        await pool.aclose()


async def test_who_waits_for_a_connection_gets_it_when_the_one_before_is_cancelled(redis_url: str) -> None:
    """In the very moment in which it is its turn."""
    async with pool_at(redis_url, connections=1) as pool:
        connections = pool.connection_pool
        held = await connections.get_connection()
        first, second = [asyncio.ensure_future(pool.echo(name)) for name in ("first", "second")]
        for _ in TURNS:
            await asyncio.sleep(0)
        await connections.release(held)
        first.cancel()
        assert await second == b"second"
        assert not connections._in_use_connections
        await pool.aclose()


async def test_an_answer_that_nobody_waited_for_is_given_to_nobody(redis_url: str) -> None:
    async with pool_at(redis_url) as pool:
        connections = pool.connection_pool
        left = await connections.get_connection()
        await left.send_command("ECHO", "for nobody")
        await eventually(left.can_read)
        await connections.release(left)
        assert await pool.echo("mine") == b"mine"
        await pool.aclose()


@pytest.mark.parametrize(("seconds", "count"), [(60, 1), (0, 3)])
def test_connections_with_tls_share_what_takes_long_to_read(seconds: float, count: int) -> None:
    """And read it anew after a while: certificates are renewed."""
    url = parse_redis_url("rediss://localhost:1/0")
    timings = RedisTimings(tls_files_seconds=seconds)
    pool = server_client(url, url.hosts[0], timings).connection_pool
    connections = [pool.make_connection() for _ in range(3)]
    contexts = [connection._connection_arguments()["ssl"] for connection in connections]
    assert len(set(contexts)) == count


async def test_a_closed_store_finds_no_new_server(redis_url: str) -> None:
    """As an answer that comes late would have it: its key moved there."""
    async with connect(redis_url) as store:
        known = store.servers.all[0]
    assert store.servers.at(known.address) is known
    with pytest.raises(Unavailable):
        store.servers.at(("127.0.0.1", known.address[1] + 1))


async def numbers(store: Store, words: Sequence[str]) -> list[bytes]:
    """Ask the server for each word again, one call after the other, by a script that it knows."""
    (sha,) = (await store.everywhere("SCRIPT", "LOAD", "return ARGV[1]")).values()
    return [
        answer for word in words for answer in await store.send([Command("{t}", ("EVALSHA", sha, 0, word))])
    ]


async def test_scripts_that_come_one_at_a_time_go_on_after_their_connection_was_cut(redis_url: str) -> None:
    async with connect(redis_url) as store:
        assert await numbers(store, ["1", "2"]) == [b"1", b"2"]
        await store.everywhere("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert await numbers(store, ["3", "4"]) == [b"3", b"4"]


async def test_the_answer_to_a_script_that_nobody_waited_for_is_given_to_nobody(redis_url: str) -> None:
    """Cancelled at each turn of the event loop: before it is sent, and while its answer is on its way."""
    async with connect(redis_url) as store:
        assert await numbers(store, ["before"]) == [b"before"]
        (sha,) = (await store.everywhere("SCRIPT", "LOAD", "return ARGV[1]")).values()
        for turns in TURNS:
            call = asyncio.ensure_future(store.send([Command("{t}", ("EVALSHA", sha, 0, "cancelled"))]))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
            assert await numbers(store, ["mine"]) == [b"mine"]


async def test_a_store_that_is_closed_leaves_no_connection_of_single_scripts(redis_url: str) -> None:
    async with pool_at(redis_url) as pool:
        await pool.aclose()
        async with connect(redis_url) as store:
            assert await numbers(store, ["1"]) == [b"1"]
