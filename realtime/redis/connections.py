"""Connections of redis-py that do what they are asked once, and a pool that stays closed once it was closed.

redis-py connects and subscribes anew by itself, which hides that messages may have been missed, and keeps
connections that nobody closes. Made by `pool`; knows no command and no setting. The private names of redis-py
that are used here stand in tests/unit/realtime/redis/test_connections.py; setup.cfg bounds its version.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any
from weakref import WeakSet

from redis import asyncio as redis
from redis.asyncio.connection import Connection, RedisSSLContext, SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from realtime.causes.sentence import Phase, at, place_of

TLS_FILES_SECONDS = 60.0  # for which certificates are not read again


class _Ours:
    """What is ours in a connection, plain or not."""

    may_connect = False  # the pool hands it out
    phase = Phase.CONNECTING  # while it connects

    async def connect_check_health(self, *arguments: Any, **options: Any) -> None:
        """Connect for the pool only.

        redis-py does it for whoever sends, and subscribes anew, too: beside whoever reads, for as long as the
        server likes, and nobody is told that messages may have been missed.
        """
        if self.is_connected:  # type: ignore[attr-defined]
            return
        if self.may_connect:
            await self._connect_once(*arguments, **options)
        if not self.may_connect:  # by now
            await self.disconnect(nowait=True)  # type: ignore[attr-defined]
            raise RedisConnectionError("the connection was lost, or closed")

    async def _connect_once(self, *arguments: Any, **options: Any) -> None:
        try:
            await super().connect_check_health(*arguments, **options)  # type: ignore[misc]
        except (RedisError, OSError) as error:
            at(error, place_of(self.host, self.port), self.phase)  # type: ignore[attr-defined]
            raise

    async def send_packed_command(self, *arguments: Any, **options: Any) -> None:
        """Tell as an error of its own what uvloop says of a transport that was reset meanwhile."""
        try:
            await super().send_packed_command(*arguments, **options)  # type: ignore[misc]
        except RuntimeError as error:
            raise RedisConnectionError("the connection is closed") from error


class PlainConnection(_Ours, Connection):
    pass


class TlsConnection(_Ours, SSLConnection):
    shared: _SharedTls
    phase = Phase.CONNECTING_BY_TLS

    def _connection_arguments(self) -> Mapping[str, Any]:
        self.ssl_context.context = self.shared.context_of(self.ssl_context)
        arguments: Mapping[str, Any] = super()._connection_arguments()
        return {**arguments, "ssl_handshake_timeout": self.shared.answer_seconds}


class _SharedTls:
    """One context for all connections of a pool.

    To read the system's authorities takes 0.1 s, in which nothing else runs. They are read again after a
    minute, since files of certificates are renewed.
    """

    def __init__(self, answer_seconds: float) -> None:
        self.answer_seconds = answer_seconds  # for which a server may be silent before it speaks TLS
        self._context: Any = None
        self._read_at = 0.0

    def context_of(self, files: RedisSSLContext) -> Any:
        if self._context is None or time.monotonic() - self._read_at > TLS_FILES_SECONDS:
            self._context, self._read_at = self._read(files), time.monotonic()
        return self._context

    def _read(self, files: RedisSSLContext) -> Any:
        """Read them; where that fails, as while they are replaced, go by what was read before."""
        files.context = None
        try:
            return files.get()
        except (OSError, ValueError):
            if self._context is None:
                raise
            return self._context


class Pool(redis.BlockingConnectionPool):
    """Who still holds it when it is closed opens no connection that nobody would close any more.

    redis-py would: a closed pool connects anew when it is asked.
    """

    def __init__(self, *, tls_answer_seconds: float, **options: Any) -> None:
        super().__init__(**options)
        self._is_closed = False
        self._shared_tls = _SharedTls(tls_answer_seconds)
        self._made: WeakSet[Any] = WeakSet()  # connections of this pool, idle or not

    def make_connection(self) -> Any:
        connection: Any = super().make_connection()  # type: ignore[no-untyped-call]
        if isinstance(connection, TlsConnection):
            connection.shared = self._shared_tls
        self._made.add(connection)
        return connection

    async def get_connection(self, *arguments: Any, **options: Any) -> Any:
        """Wait for a connection, and let the next one try if this one is cancelled.

        Before Python 3.13 who is cancelled just when it is its turn takes the turn with it.
        """
        try:
            return await super().get_connection(*arguments, **options)  # type: ignore[no-untyped-call]
        except BaseException:
            await asyncio.shield(asyncio.create_task(self._call_next(), name="call who waits for Redis"))
            raise

    async def ensure_connection(self, connection: Any) -> None:
        connection.may_connect = not self._is_closed
        try:
            await super().ensure_connection(connection)
        finally:
            connection.may_connect = False

    async def _call_next(self) -> None:
        async with self._condition:
            self._condition.notify()

    async def aclose(self) -> None:
        self._is_closed = True
        for connection in self._made:
            connection.may_connect = False
        await super().aclose()
