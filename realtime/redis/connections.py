"""redis-py connections that never reconnect by themselves, and a pool that stays closed after `aclose`.

redis-py reconnects and resubscribes by itself, which hides that messages may have been missed, and keeps
connections that nobody closes. `pool` creates ours; they know no command and no setting. The private names
of redis-py used here are in tests/unit/realtime/redis/test_connections.py; setup.cfg bounds its version.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from typing import Any
from weakref import WeakSet

from redis import asyncio as redis
from redis.asyncio.connection import Connection, RedisSSLContext, SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from realtime.causes.sentence import Phase, at, server_name
from realtime.redis.timings import RedisTimings


class _Ours:
    """What this service adds to a connection of redis-py, with or without TLS."""

    may_connect = False  # True while the pool hands the connection out
    phase = Phase.CONNECTING  # named in errors while it connects

    async def connect_check_health(self, *arguments: object, **options: object) -> None:
        """Connect for the pool only.

        redis-py connects for every sender, and resubscribes: this runs beside a reader, takes as long as the
        server likes, and no caller learns that messages may have been missed.
        """
        if self.is_connected:  # type: ignore[attr-defined]
            return
        if self.may_connect:
            await self._connect_once(*arguments, **options)
        if not self.may_connect:  # the pool may have been closed meanwhile
            await self.disconnect(nowait=True)  # type: ignore[attr-defined]
            raise RedisConnectionError("the connection was lost, or closed")

    async def _connect_once(self, *arguments: object, **options: object) -> None:
        try:
            await super().connect_check_health(*arguments, **options)  # type: ignore[misc]
        except (RedisError, OSError) as error:
            at(error, server_name(self.host, self.port), self.phase)  # type: ignore[attr-defined]
            raise

    async def send_packed_command(self, *arguments: object, **options: object) -> None:
        """Raise a ConnectionError of redis-py for uvloop's RuntimeError of a transport that was reset."""
        try:
            await super().send_packed_command(*arguments, **options)  # type: ignore[misc]
        except RuntimeError as error:
            raise RedisConnectionError("the connection is closed") from error


class PlainConnection(_Ours, Connection):
    pass


class TlsConnection(_Ours, SSLConnection):
    shared: _SharedTls
    phase = Phase.CONNECTING_BY_TLS

    def _connection_arguments(self) -> Mapping[str, object]:
        self.ssl_context.context = self.shared.context_of(self.ssl_context)
        arguments: Mapping[str, object] = super()._connection_arguments()
        return {**arguments, "ssl_handshake_timeout": self.shared.timings.tls_answer_seconds}


class _SharedTls:
    """One TLS context for all connections of a pool.

    Reading the system's authorities takes 0.1 s, and blocks the event loop. Certificate files are read again
    after `tls_files_seconds`, since they are renewed.
    """

    def __init__(self, timings: RedisTimings) -> None:
        self.timings = timings
        self._context: ssl.SSLContext | None = None
        self._read_at = 0.0

    def context_of(self, files: RedisSSLContext) -> ssl.SSLContext:
        if self._context is None or time.monotonic() - self._read_at > self.timings.tls_files_seconds:
            self._context, self._read_at = self._read(files), time.monotonic()
        return self._context

    def _read(self, files: RedisSSLContext) -> ssl.SSLContext:
        """Read certificate files; if that fails, as while they are replaced, keep the context read before."""
        files.context = None
        try:
            return files.get()
        except (OSError, ValueError):
            if self._context is None:
                raise
            return self._context


class Pool(redis.BlockingConnectionPool):
    """A pool that opens no connection after it was closed, since nobody would close that connection.

    redis-py's own pool connects again when a connection is requested after its end.
    """

    def __init__(self, *, timings: RedisTimings, **options: Any) -> None:
        super().__init__(**options)
        self._is_closed = False
        self._shared_tls = _SharedTls(timings)
        self._made: WeakSet[PlainConnection | TlsConnection] = WeakSet()  # all, idle or not

    def make_connection(self) -> PlainConnection | TlsConnection:
        connection: PlainConnection | TlsConnection = super().make_connection()  # type: ignore[no-untyped-call]
        if isinstance(connection, TlsConnection):
            connection.shared = self._shared_tls
        self._made.add(connection)
        return connection

    async def get_connection(self, *arguments: object, **options: object) -> Any:
        """Wait for a connection; a caller that fails or is cancelled wakes the next one that waits.

        Before Python 3.13 a task that is cancelled just when it is notified loses the notification.
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
