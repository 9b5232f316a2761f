"""A client of one server of Redis, as this service needs it: the client retries nothing by itself.

`cluster` makes clients of servers with keys, and of those to ask where the servers are. Knows no command.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import replace
from typing import Any

from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, ConnectionError
from redis.maint_notifications import MaintNotificationsConfig

from realtime.redis.connections import PlainConnection, Pool, TlsConnection
from realtime.redis.timings import DEFAULTS, RedisTimings
from realtime.settings.redis_url import Address, Kind, RedisUrl

CONNECTIONS = 64  # of one process to one server; a further call waits for one of them
CONNECT_SECONDS = 5
CLOSE_SECONDS = 1.0  # for connections to close
# For a server to answer the TLS handshake, when it is asked where the servers are: that has 2 seconds.
GUIDE_TLS_ANSWER_SECONDS = 1.5


def server_client(
    url: RedisUrl, address: Address, timings: RedisTimings = DEFAULTS, connections: int = CONNECTIONS
) -> redis.Redis:
    """Return a client of a server that holds data; the client connects at its first use."""
    login = {"username": url.username, "password": url.password, "db": url.db}
    return _client(address, {**login, **(url.tls or {})}, url.tls is not None, timings, connections)


def guide_client(url: RedisUrl, address: Address, timings: RedisTimings = DEFAULTS) -> redis.Redis:
    """Return a client to ask where the servers are: of a sentinel, or of any server of a cluster."""
    timings = replace(timings, tls_answer_seconds=GUIDE_TLS_ANSWER_SECONDS)
    if url.kind is not Kind.SENTINEL:
        return server_client(url, address, timings)
    login = {"username": url.sentinel_username, "password": url.sentinel_password}
    return _client(address, {**login, **(url.tls or {})}, url.tls is not None, timings)


async def answers(url: str) -> bool:
    """Return whether the server at a URL answers now: it may not listen yet, or still load its data."""
    async with redis.Redis.from_url(url, retry=None) as client:
        try:
            return bool(await client.ping())
        except (ConnectionError, BusyLoadingError):
            return False


def _client(
    address: Address,
    options: Mapping[str, object],
    has_tls: bool,
    timings: RedisTimings,
    connections: int = CONNECTIONS,
) -> redis.Redis:
    """Return a client without retries: a caller must learn of a lost connection and of missed messages.

    The client sets no timeout for commands: redis-py uses `asyncio.wait_for`, which before Python 3.12
    swallows a cancellation that comes at the same time. The store limits the time of its calls instead.
    """
    pool = Pool(
        timings=timings,
        connection_class=TlsConnection if has_tls else PlainConnection,
        host=address[0],
        port=address[1],
        max_connections=connections,
        timeout=CONNECT_SECONDS,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=None,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        **options,
    )
    return redis.Redis.from_pool(pool)


async def connect_anew(client: redis.Redis) -> None:
    """Drop all connections to a demoted server, since they stay open and healthy."""
    pool = client.connection_pool
    await pool.update_active_connections_for_reconnect()  # type: ignore[no-untyped-call]
    await close([pool.disconnect(inuse_connections=False)])


async def close(closings: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Close connections, within CLOSE_SECONDS, and ignore errors: nobody needs these connections.

    For example, a frozen server does not answer, and a task that is cancelled while it waits for the same
    connection to end cancels the closing, too.
    """
    tasks = [asyncio.create_task(closing, name="close connections to Redis") for closing in closings]
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
