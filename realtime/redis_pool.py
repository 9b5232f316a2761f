"""A pool of connections to one server of Redis, as this service needs it.

Nothing is tried twice unasked, and a pool that was closed stays closed. Made by the store, and for whoever is
asked where the servers are. Knows no command.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any

from redis import asyncio as redis
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from realtime.redis_url import Address, Kind, RedisUrl

CONNECTIONS = 64  # of one process to one server; a call beyond that waits for one of them
CONNECT_SECONDS = 5
CLOSE_SECONDS = 1.0  # for connections to end


def server_client(url: RedisUrl, address: Address) -> redis.Redis:
    """Return a client of a server that holds data; it connects when it is first used."""
    return _client(address, url.tls, {"username": url.username, "password": url.password, "db": url.db})


def guide_client(url: RedisUrl, address: Address) -> redis.Redis:
    """Return a client of one that tells where the servers are: a sentinel, or any server of a cluster."""
    if url.kind is not Kind.SENTINEL:
        return server_client(url, address)
    return _client(address, url.tls, {"username": url.sentinel_username, "password": url.sentinel_password})


def _client(address: Address, tls: Mapping[str, Any] | None, login: Mapping[str, Any]) -> redis.Redis:
    """It does not retry by itself: who loses a connection has to know, since it may have missed messages.

    And it sets no time for a command: redis-py does that by `asyncio.wait_for`, which before Python 3.12
    swallows a cancellation that comes at the same time; the store bounds its calls instead.
    """
    pool = _Pool(
        connection_class=_PlainConnection if tls is None else _TlsConnection,
        host=address[0],
        port=address[1],
        max_connections=CONNECTIONS,
        timeout=CONNECT_SECONDS,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=None,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
        **login,
        **(tls or {}),
    )
    return redis.Redis.from_pool(pool)


class _Ours:
    """What is ours in a connection, plain or not."""

    is_over = False  # its pool was closed

    async def connect_check_health(self, *arguments: Any, **options: Any) -> None:
        if not self.is_over:
            await super().connect_check_health(*arguments, **options)  # type: ignore[misc]
        if self.is_over:  # by now
            await self.disconnect(nowait=True)  # type: ignore[attr-defined]
            raise RedisConnectionError("the pool is closed")

    async def send_packed_command(self, *arguments: Any, **options: Any) -> None:
        """Tell as an error of its own what uvloop says of a transport that was reset meanwhile."""
        try:
            await super().send_packed_command(*arguments, **options)  # type: ignore[misc]
        except RuntimeError as error:
            raise RedisConnectionError("the connection is closed") from error


class _PlainConnection(_Ours, Connection):
    pass


class _TlsConnection(_Ours, SSLConnection):
    pass


class _Pool(redis.BlockingConnectionPool):
    """Who still holds it when it is closed opens no connection that nobody would close any more.

    redis-py would: a closed pool connects anew when it is asked, and so does a connection by itself.
    """

    _is_closed = False

    def make_connection(self) -> Any:
        connection: Any = super().make_connection()  # type: ignore[no-untyped-call]
        connection.is_over = self._is_closed
        return connection

    async def aclose(self) -> None:
        self._is_closed = True
        ours: list[Any] = [*self._available_connections, *self._in_use_connections]
        for connection in ours:
            connection.is_over = True
        await super().aclose()


async def connect_anew(client: redis.Redis) -> None:
    """The server was demoted, and its connections stay as healthy as before: use none of them again."""
    pool = client.connection_pool
    await pool.update_active_connections_for_reconnect()  # type: ignore[no-untyped-call]
    await close([pool.disconnect(inuse_connections=False)])


async def close(closings: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Let connections be closed, for a moment.

    What goes wrong with one that nobody wants any more concerns nobody: a frozen server does not answer, and
    whoever was cancelled while it waited for the same connection to end cancels the closing, too.
    """
    tasks = [asyncio.create_task(closing, name="close connections to Redis") for closing in closings]
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
