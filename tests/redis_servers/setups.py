"""The kinds of Redis that `redis_url` may name, each with the means to run one.

Asked by the fixtures of `tests/conftest.py`, for what `--redis` says. No test stops these, since all share
them: one that does runs a set-up of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from redis.asyncio import Redis

from tests.redis_servers.cluster import valkey_cluster
from tests.redis_servers.sentinels import sentinel_pair
from tests.redis_servers.server import ANSWER_SECONDS
from tests.redis_servers.tls import tls_server
from tests.servers import throw_away_valkey

CALM_MS = 15_000  # of silence: on a machine that is busy with tests nobody is taken for dead


class RedisSetup(Protocol):
    """One or several servers that run."""

    @property
    def url(self) -> str:
        """What the program is told as `redis_url`."""

    async def flush(self) -> None:
        """Delete everything that is stored."""


class Standalone:
    """One server."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def flush(self) -> None:
        async with Redis.from_url(self.url, socket_timeout=ANSWER_SECONDS) as client:
            await client.flushall()


@asynccontextmanager
async def standalone(directory: Path) -> AsyncIterator[Standalone]:
    async with throw_away_valkey(directory) as server:
        yield Standalone(server.url)


def calm_cluster(directory: Path) -> AbstractAsyncContextManager[RedisSetup]:
    return valkey_cluster(directory, node_timeout_ms=CALM_MS)


def calm_sentinels(directory: Path) -> AbstractAsyncContextManager[RedisSetup]:
    return sentinel_pair(directory, down_after_ms=CALM_MS)


SETUPS: dict[str, Callable[[Path], AbstractAsyncContextManager[RedisSetup]]] = {
    "standalone": standalone,
    "sentinel": calm_sentinels,
    "cluster": calm_cluster,
    "tls": tls_server,
}

# The files of tests that CI runs on sentinels and on a cluster, too, in about a minute each.
CONTRACT = frozenset(
    {
        "test_broadcast",
        "test_connection_history",
        "test_fleet",
        "test_fleet_figures",
        "test_gateway_messages",
        "test_gateway_recovery",
        "test_gateway_redis",
        "test_limits_connections",
        "test_notifier",
        "test_places_in_redis",
        "test_presence",
        "test_publish_script",
        "test_two_projects",
    }
)
