"""One connection that stays out of the pool between calls, for commands that come one at a time.

To take a connection from redis-py's pool and to give it back costs more than a command. The pool counts the
kept connection as in use, and closes it with the others. Each server in `cluster` has one; `client` calls it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from hiredis import pack_command
from redis import asyncio as redis
from redis.exceptions import ConnectionError as RedisConnectionError

from realtime.redis.command_protocol import CommandProtocol


class KeptConnection:
    """Sends single commands to one server; a call that comes during another one takes its own connection."""

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._pool: Any = pool  # redis-py has no types for most of it
        self._kept: CommandProtocol | None = None

    @property
    def is_ready(self) -> bool:
        """Whether a call would find an open connection."""
        return self._kept is not None and self._kept.is_ready

    def begin(self, words: Sequence[object], seconds: float) -> asyncio.Future[Any] | None:
        """Send a command without waiting for the answer, which `execute` would return or raise.

        Return None, and send nothing, unless a connection is ready.
        """
        if self._kept is None or not self._kept.is_ready:
            return None
        try:
            return self._kept.ask(pack_command(tuple(words)), seconds)  # type: ignore[arg-type]
        except RedisConnectionError:  # the next call gives this connection back
            return None

    async def execute(self, words: Sequence[object], seconds: float | None = None) -> Any:
        """Return the answer as the server sends it: redis-py converts no answer of a script either.

        The answer must come within so many seconds after the command was sent. Raises errors of redis-py,
        TimeoutError, and any error about the words before something is sent.
        """
        packed = pack_command(tuple(words))  # type: ignore[arg-type]
        protocol = self._kept
        if protocol is None or not protocol.is_ready:
            protocol = await self._another()
        try:
            return await protocol.ask(packed, seconds)
        finally:
            # The kept connection may serve the next call already: its answer came before this task went on.
            if protocol is not self._kept or not (protocol.is_ready or protocol.is_busy):
                await self._end(protocol)

    async def _another(self) -> CommandProtocol:
        """Open a connection: another one is busy, or cannot be used any more."""
        former = self._kept
        if former is not None and not former.is_busy:
            self._kept = None
            await self._give_back(former)
        return CommandProtocol(await self._pool.get_connection())

    async def _end(self, protocol: CommandProtocol) -> None:
        """Keep the connection of a call that has ended, or give it back."""
        if self._kept is None and protocol.is_ready:
            self._kept = protocol
            return
        if self._kept is protocol:
            self._kept = None
        await self._give_back(protocol)

    async def _give_back(self, protocol: CommandProtocol) -> None:
        """Give a connection back to the pool, which opens it anew if it is not ready."""
        connection = protocol.connection
        try:
            if protocol.is_ready:
                protocol.end()
            else:
                await connection.disconnect(nowait=True)
        finally:
            await self._pool.release(connection)
