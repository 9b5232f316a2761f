"""A Redis of the stage that chooses its primary itself: a cluster, or a pair under sentinels.

Each method is a fault, and returns when all servers work again; faults call it with a key on the server to
strike. Commands of the suite go directly to the servers; the service connects through bundles of links.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from redis.crc import key_slot

from tests.chaos.bundle import Bundle, Way
from tests.redis_servers.cluster import ValkeyCluster, valkey_cluster
from tests.redis_servers.sentinels import SentinelPair, sentinel_pair

MAX_LAG_SECONDS = 10  # as docs/operations.md has it
LATE_SECONDS = 1.0  # in which the last answers of an old primary arrive
Servers = ValkeyCluster | SentinelPair


class Fleet:
    """All servers together."""

    def __init__(self, opening: Callable[[], AbstractAsyncContextManager[Servers]]) -> None:
        self._opening = opening
        self._servers: Servers | None = None
        self.before_division: Callable[[], None] = lambda: None  # two servers are about to answer as primary
        self.after_division: Callable[[], None] = lambda: None

    def __repr__(self) -> str:
        return f"<Fleet {self._servers}>"

    def way(self, name: str) -> Bundle:
        """Create the links of one process."""
        return Bundle(name, lambda: self.servers.addresses)

    def url(self, way: Way) -> str:
        """Return the URL through these links."""
        assert isinstance(way, Bundle)
        return way.through(self.servers.url)

    @property
    def servers(self) -> Servers:
        assert self._servers is not None, "it does not run"
        return self._servers

    @property
    def cluster(self) -> ValkeyCluster:
        assert isinstance(self.servers, ValkeyCluster)
        return self.servers

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self._opening() as self._servers:
            yield

    async def _primary(self, key: str) -> str:
        """Return the address of a key's primary, once all servers work."""
        await self.servers.wait_healthy()
        return await self.servers.primary_of(key)

    async def kill_primary(self, key: str, lag_seconds: float, pause_seconds: float) -> None:
        """Kill the primary after its replica lagged for this time; restart it after the replica took over."""
        primary = await self._primary(key)
        replica = await self.servers.replica_of(primary)
        if lag_seconds:
            self.servers.pause(replica)
            await self.servers.server(primary).command("CLIENT", "KILL", "TYPE", "replica")
            await asyncio.sleep(lag_seconds)
        await self.servers.kill(primary)
        if lag_seconds:
            self.servers.resume(replica)
        await self.servers.wait_taken_over(primary)
        await asyncio.sleep(pause_seconds)
        await self.servers.start(primary)
        await self.servers.wait_healthy()

    @asynccontextmanager
    async def _divided(self) -> AsyncIterator[None]:
        """Two servers may answer as primary in the block; ends when all work and the last answers arrived."""
        self.before_division()
        yield
        await self.servers.wait_healthy()
        await asyncio.sleep(LATE_SECONDS)
        self.after_division()

    async def empty_primary(self, key: str, pause_seconds: float) -> None:
        """Kill the primary and restart it empty before its replica takes over, which then copies nothing.

        Sentinels may have begun to replace it: then the old primary answers until they have.
        """
        primary = await self._primary(key)
        await self.servers.kill(primary)
        await asyncio.sleep(pause_seconds)
        async with self._divided():
            await self.servers.start(primary)

    async def freeze_primary(self, key: str, seconds: float) -> None:
        """Freeze the primary for less time than the other servers need to take it for dead."""
        primary = await self._primary(key)
        self.servers.pause(primary)
        try:
            await asyncio.sleep(seconds)
        finally:
            await self._wake(primary)

    async def _wake(self, primary: str) -> None:
        """Continue a frozen server; it first carries out and acknowledges the commands that wait."""
        async with self._divided():
            self.servers.resume(primary)

    async def replace_frozen(self, key: str, pause_seconds: float) -> None:
        """Freeze it until some time after its replica took over; then it continues as a primary."""
        primary = await self._primary(key)
        self.servers.pause(primary)
        try:
            await self.servers.wait_taken_over(primary)
            await asyncio.sleep(pause_seconds)
        finally:
            await self._wake(primary)

    async def switch(self, key: str) -> None:
        """Exchange the roles of a primary and its replica, as for an upgrade."""
        primary = await self._primary(key)
        if isinstance(self.servers, SentinelPair):
            await self.servers.failover("COORDINATED")
        else:
            await self.servers.failover(primary)

    async def force(self) -> None:
        """Have sentinels promote the replica while the primary answers, which they demote a second later."""
        assert isinstance(self.servers, SentinelPair)
        await self.servers.wait_healthy()
        async with self._divided():
            await self.servers.failover()

    async def move(self, keys: Sequence[str], to: int, returns: bool) -> None:
        """Move the slots of keys to another primary, key by key, and possibly back at once."""
        for key in keys:
            source = await self._primary(key)
            await self.cluster.move_slot(key_slot(key.encode()), await self._other(source, to))
            if returns:
                await self.cluster.move_slot(key_slot(key.encode()), source)

    async def migrate(self, keys: Sequence[str], to: int) -> None:
        """Move the slots of those keys that are on the server of the first key, in one step."""
        source = await self._primary(keys[0])
        slots = {key_slot(key.encode()) for key in keys if await self.cluster.primary_of(key) == source}
        await self.cluster.migrate_slots(sorted(slots), await self._other(source, to))

    async def _other(self, than: str, number: int) -> str:
        others = sorted(await self.cluster.primaries() - {than})
        return others[number % len(others)]

    async def kill_replica(self, key: str, pause_seconds: float) -> None:
        replica = await self.servers.replica_of(await self._primary(key))
        await self._restart(replica, pause_seconds)

    async def kill_sentinel(self, number: int, pause_seconds: float) -> None:
        assert isinstance(self.servers, SentinelPair)
        await self.servers.wait_healthy()
        await self._restart(self.servers.sentinels[number], pause_seconds)

    async def _restart(self, address: str, pause_seconds: float) -> None:
        await self.servers.kill(address)
        await asyncio.sleep(pause_seconds)
        await self.servers.start(address)
        await self.servers.wait_healthy()

    async def command_primary(self, key: str, *words: object) -> None:
        """Run a command on the primary."""
        await self.servers.server(await self._primary(key)).command(*words)


def cluster_fleet(directory: Path, min_replicas: int) -> Fleet:
    """Run a cluster whose primaries accept no write without this number of replicas."""
    return Fleet(lambda: valkey_cluster(directory, settings=_cautious(min_replicas)))


def sentinel_fleet(directory: Path, min_replicas: int) -> Fleet:
    """Run a pair under sentinels, with the same rule."""
    return Fleet(lambda: sentinel_pair(directory, settings=_cautious(min_replicas)))


def _cautious(min_replicas: int) -> dict[str, object]:
    return {"min-replicas-to-write": min_replicas, "min-replicas-max-lag": MAX_LAG_SECONDS}
