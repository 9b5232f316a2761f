"""A Valkey whose users may do little, reached by good ways and by bad ones.

Used by the tests of what is told when Redis cannot be reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvloop
from redis.asyncio import Redis

from realtime.errors import Unavailable
from realtime.redis.client import connect
from realtime.redis.timings import DEFAULTS, RedisTimings
from tests.broken_servers import (
    Certificates,
    answer_http,
    hang_up,
    listening,
    redis_tls_front,
    say_nothing,
)
from tests.ports import free_port
from tests.servers import throw_away_postgres, throw_away_valkey

PASSWORD = "s3same"
USERS = (
    f"app on >{PASSWORD} ~* &* +@all",
    f"low on >{PASSWORD} ~realtime:* &realtime:* +@all -spublish",
    f"keyless on >{PASSWORD} ~other:* &* +@all",
)


@dataclass
class Stage:
    """A Valkey, and its port behind TLS of every sort."""

    superuser_url: str
    certificates: Certificates
    ports: dict[str, int]

    def url(self, where: str = "redis", login: str = f"app:{PASSWORD}", at: str = "127.0.0.1", **tls: object):
        query = "&".join(f"{name}={value}" for name, value in tls.items())
        return f"{'rediss' if tls else 'redis'}://{login}@{at}:{self.ports[where]}/0?{query}"


@asynccontextmanager
async def broken_redis(directory: Path) -> AsyncIterator[Stage]:
    """Run a Valkey with users who may do little, and what stands in front of it."""
    own = Certificates(directory)
    async with (
        throw_away_valkey(directory / "valkey") as server,
        throw_away_postgres(directory / "postgres") as postgres,
        listening(say_nothing) as silent,
        listening(answer_http) as http,
        listening(hang_up) as hangs_up,
        redis_tls_front(server.port, own.server_context()) as tls,
        redis_tls_front(server.port, own.server_context(expired=True)) as expired,
        redis_tls_front(server.port, own.server_context(wants_client=True)) as wants_client,
    ):
        async with Redis.from_url(server.url) as redis:
            for user in USERS:
                await redis.execute_command("ACL", "SETUSER", *user.split())
        ports = {
            "redis": server.port,
            "nobody": free_port(),
            "silent": silent,
            "http": http,
            "hangs up": hangs_up,
            "postgres": postgres.port,
            "tls": tls,
            "expired": expired,
            "wants client": wants_client,
        }
        yield Stage(server.url, own, ports)


async def ask(url: str, timings: RedisTimings, *words: str) -> Any:
    async with connect(url, timings) as store:
        word, key, *arguments = words or ("GET", "realtime:name")
        return await store.call(word, key, *arguments)


async def reason_of(url: str, loop: str, *words: str, timings: RedisTimings = DEFAULTS) -> str:
    """Why Redis does not do it, on a loop of its own."""

    def attempt() -> str:
        factory = uvloop.new_event_loop if loop == "uvloop" else None
        with asyncio.Runner(loop_factory=factory) as runner, pytest.raises(Unavailable) as raised:
            runner.run(ask(url, timings, *words))
        assert raised.value.message == "Redis cannot be reached now"
        return raised.value.reason

    return await asyncio.to_thread(attempt)
