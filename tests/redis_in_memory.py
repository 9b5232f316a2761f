"""Redis in memory: a store for tests of what speaks to Redis, without a server.

Scripts run in it, too; tests/integration/test_scripts_in_memory.py compares what they answer with a server's.
It has no replication, so no reign, and no cluster; and it lets scripts write that said that they only read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from hiredis import pack_command
from redis.asyncio import Redis

from realtime.redis.client import Command, Store
from realtime.redis.timings import RedisTimings
from realtime.settings.redis_url import Address, RedisUrl, parse_redis_url

NOWHERE = "redis://127.0.0.1:1"  # what is in memory has no address


# It does not know these commands.
ALIKE = {"EVALSHA_RO": "EVALSHA", "EVAL_RO": "EVAL"}


class StoreInMemory(Store):
    """Has its data in this process."""

    async def send(self, commands: Sequence[Command], seconds: float | None = None) -> list[Any]:
        known = [
            Command(command.key, (ALIKE.get(str(command.words[0]), command.words[0]), *command.words[1:]))
            for command in commands
        ]
        return await super().send(known, seconds)


class KeptInMemory:
    """What is in memory has no transport that could be taken over."""

    is_ready = False

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def execute(self, words: Sequence[object], seconds: float | None = None) -> Any:
        connection = await self._pool.get_connection()
        try:
            await connection.send_packed_command(pack_command(tuple(words)))  # type: ignore[arg-type]
            return await connection.read_response()
        finally:
            await self._pool.release(connection)


@asynccontextmanager
async def store_in_memory() -> AsyncIterator[Store]:
    """An empty Redis of its own."""
    server = FakeServer(version=(8,), server_type="valkey")

    def client(_url: RedisUrl, _address: Address, _timings: RedisTimings) -> Redis:
        return FakeAsyncRedis(server=server)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("realtime.redis.cluster.server_client", client)
        patch.setattr("realtime.redis.cluster.KeptConnection", KeptInMemory)
        async with StoreInMemory(parse_redis_url(NOWHERE)) as store:
            yield store
