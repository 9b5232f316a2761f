"""One connection that stays out of the pool between calls, for commands that come one at a time.

To take a connection from redis-py's pool and to give it back costs more than a command. The pool counts the
kept connection as in use, and closes it with the others. Each server in `cluster` has one; `client` calls it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hiredis import pack_command
from redis import asyncio as redis


class KeptConnection:
    """Sends single commands to one server; a call that comes during another one takes its own connection."""

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._pool: Any = pool  # redis-py has no types for most of it
        self._idle: Any = None  # the kept connection, while no call has it

    async def execute(self, words: Sequence[object]) -> Any:
        """Return the answer as the server sends it: redis-py converts no answer of a script either.

        Raises errors of redis-py, and any error about the words before something is sent.
        """
        packed = pack_command(tuple(words))  # type: ignore[arg-type]
        connection = await self._take()
        try:
            await connection.send_packed_command(packed)
            return await connection.read_response()
        finally:
            # After anything but an error that the server sent, redis-py has closed the connection. So a late
            # answer is read by no other call, and the next call connects anew.
            await self._put_back(connection)

    async def _take(self) -> Any:
        connection, self._idle = self._idle, None
        if connection is None:
            return await self._pool.get_connection()
        if connection.should_reconnect():  # its server is no longer a primary; the pool closes it
            await self._pool.release(connection)
            return await self._pool.get_connection()
        try:
            await self._pool.ensure_connection(connection)
        except BaseException:
            await self._pool.release(connection)
            raise
        return connection

    async def _put_back(self, connection: Any) -> None:
        if self._idle is None and not connection.should_reconnect():
            self._idle = connection
        else:
            await self._pool.release(connection)
