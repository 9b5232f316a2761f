"""Redis' scripts: what is in `realtime/lua`, called by name, many calls in one round trip.

Used by the two doors to Redis, `broker` and `people`, whose errors are translated there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from redis import asyncio as redis
from redis.exceptions import NoScriptError, ReadOnlyError

# The keys of a call, and its arguments.
Call = tuple[Sequence[str], Sequence[Any]]


class Script:
    """One script. Safe to send again: whoever calls it twice with the same arguments must be able to."""

    def __init__(self, client: redis.Redis, *names: str) -> None:
        """The files of these names, one after the other: what several begin with is in a file of its own."""
        self._client = client
        self._script = client.register_script("\n".join(map(_source, names)))

    async def call(self, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        return (await self.call_many([(keys, arguments)]))[0]

    async def call_many(self, calls: Sequence[Call]) -> list[Any]:
        """Call it for each, in order; an error of one is raised when all have been carried out."""
        try:
            return await self._send(calls)
        except NoScriptError:
            # Redis is new, so that none of the calls has done anything.
            await self._client.script_load(self._script.script)
            return await self._send(calls)

    async def _send(self, calls: Sequence[Call]) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipeline:
            for keys, arguments in calls:
                pipeline.evalsha(self._script.sha, len(keys), *keys, *arguments)
            try:
                return await pipeline.execute()
            except ReadOnlyError:
                await _connect_anew(self._client.connection_pool)
                raise


async def _connect_anew(pool: redis.ConnectionPool) -> None:
    """The server was demoted, and its connections stay as healthy as before: use none of them again."""
    await pool.update_active_connections_for_reconnect()  # type: ignore[no-untyped-call]
    await pool.disconnect(inuse_connections=False)


@cache
def _source(name: str) -> str:
    return (files("realtime") / "lua" / f"{name}.lua").read_text()
