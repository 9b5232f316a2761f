"""A primary and its replica that three sentinels watch, and what may happen to them.

Started from the wheel by whoever tests on Sentinel. The servers have one password, the sentinels another. A
server is called by its address, HOST:PORT; which one is the primary is what the sentinels say.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from tests.ports import free_ports
from tests.redis_servers.server import (
    COMMON,
    NO_SETTINGS,
    PASSWORD,
    RedisServer,
    configuration,
    kill_all,
    start_again,
    start_all,
    wait_until,
)

SERVICE = "realtime"
SENTINEL_PASSWORD = "of-no-use-to-anybody-else"
QUORUM = 2
DOWN_AFTER_MS = 1_500  # who is silent for so long is taken for dead
FAILOVER_TIMEOUT_MS = 5_000
# Sentinels look and talk every ten and two seconds; with these, one that comes back is a replica in a second.
QUICKER = ("info-period", 500, "publish-period", 250, "ask-period", 250)


class SentinelPair:
    """Two servers and three sentinels; `url` names the sentinels."""

    def __init__(self, directory: Path, down_after_ms: int, settings: Mapping[str, object]) -> None:
        first, second, *watching = free_ports(5)
        self._servers: dict[str, RedisServer] = {}
        for port, directives in ((first, ()), (second, (f"replicaof 127.0.0.1 {first}",))):
            server = RedisServer(directory / str(port), f"redis://:{PASSWORD}@127.0.0.1:{port}/0")
            server.configure(configuration({**COMMON, **settings, "port": port}, *directives))
            self._servers[server.address] = server
        sentinels = [_sentinel(directory / str(port), port, first, down_after_ms) for port in watching]
        self._sentinels = {sentinel.address: sentinel for sentinel in sentinels}

    def __repr__(self) -> str:
        return f"<SentinelPair {list(self._servers.values())}, sentinels {list(self._sentinels.values())}>"

    @property
    def url(self) -> str:
        servers = f"{','.join(self._sentinels)}/{SERVICE}/0"
        return f"redis+sentinel://:{PASSWORD}@{servers}?sentinel_password={SENTINEL_PASSWORD}"

    @property
    def addresses(self) -> list[str]:
        """Those of the servers, and of the sentinels."""
        return [*self._servers, *self._sentinels]

    @property
    def sentinels(self) -> list[str]:
        """Their addresses."""
        return list(self._sentinels)

    def server(self, address: str) -> RedisServer:
        """Return one of the two, or a sentinel."""
        return {**self._servers, **self._sentinels}[address]

    async def form(self) -> None:
        """Start the servers, then the sentinels, and wait until these know all of it."""
        await start_all(self._servers.values())
        await start_all(self._sentinels.values())
        for sentinel in self._sentinels.values():
            await _hurry(sentinel)
        await self.wait_healthy()

    async def heal(self) -> None:
        """Start again whoever is down or frozen, and wait until all is well."""
        await start_again((*self._servers.values(), *self._sentinels.values()))
        await self.wait_healthy()

    async def stop(self) -> None:
        await kill_all((*self._sentinels.values(), *self._servers.values()))

    async def flush(self) -> None:
        """Delete everything that the primary holds, and so the replica."""
        await self._servers[await self.primary()].command("FLUSHALL")

    async def primary(self) -> str:
        """Return the address of who is the primary by the word of all sentinels that answer."""
        told: set[str] = set()

        async def agreed() -> bool:
            told.clear()
            told.update(await asyncio.gather(*map(_primary_by, self._watching)))
            return len(told) == 1

        await wait_until(agreed, f"the sentinels of {self!r} agree")
        return told.pop()

    async def primary_of(self, _key: str) -> str:
        """Return the address of the server that a key lies on now."""
        return await self.primary()

    async def replica_of(self, primary: str) -> str:
        """Return the address of the server that copies a primary."""
        (replica,) = self._servers.keys() - {primary}
        return replica

    async def wait_healthy(self) -> None:
        """Wait until those servers that answer are a primary and its replica, and all sentinels know it."""

        async def healthy() -> bool:
            try:
                return await self._is_healthy()
            except RedisError:  # a server that stops just now, or is loading
                return False

        await wait_until(healthy, f"{self!r} is healthy")

    async def kill(self, address: str) -> None:
        """End a server at once. If it comes back, it is empty, so wait for the fail-over first."""
        await self.server(address).kill()

    async def start(self, address: str) -> None:
        await self.server(address).start()
        if address in self._sentinels:
            await _hurry(self._sentinels[address])

    def pause(self, address: str) -> None:
        self.server(address).pause()

    def resume(self, address: str) -> None:
        self.server(address).resume()

    async def failover(self, *how: str) -> None:
        """Have the sentinels put the replica in the primary's place, which is not stopped first.

        With COORDINATED it is, and nothing is lost; Valkey 9 has that.
        """
        primary = await self.primary()
        await self._watching[0].command("SENTINEL", "FAILOVER", SERVICE, *how)
        await self.wait_taken_over(primary)
        await self.wait_healthy()

    async def wait_taken_over(self, primary: str) -> None:
        """Wait until all sentinels name another primary than this one."""

        async def taken_over() -> bool:
            return await self.primary() != primary

        await wait_until(taken_over, f"{primary} is replaced in {self!r}")

    @property
    def _watching(self) -> list[RedisServer]:
        return [sentinel for sentinel in self._sentinels.values() if sentinel.answers]

    async def _is_healthy(self) -> bool:
        answering = {address for address, server in self._servers.items() if server.answers}
        primary = await self.primary()
        if primary not in answering or not all(await asyncio.gather(*map(self._knows_all, self._watching))):
            return False
        roles = {address: await self._replication(address) for address in answering}
        replicas = [facts for address, facts in roles.items() if address != primary]
        return (
            roles[primary]["role"] == "master"
            and roles[primary]["connected_slaves"] == len(replicas)
            and all(_copies(facts, primary) for facts in replicas)
        )

    async def _replication(self, address: str) -> dict[str, Any]:
        async with self._servers[address].client() as client:
            return dict(await client.info("replication"))

    async def _knows_all(self, sentinel: RedisServer) -> bool:
        """Whether a sentinel knows the others, and the replica as well if that answers."""
        async with sentinel.client() as client:
            facts = await client.execute_command("SENTINEL MASTER", SERVICE)
            replicas = await client.execute_command("SENTINEL REPLICAS", SERVICE)
        down = {"s_down", "o_down", "disconnected", "failover_in_progress"}
        well = [_flags(replica).isdisjoint(down) for replica in replicas]
        expected = sum(server.answers for server in self._servers.values()) - 1
        return (
            _flags(facts) == {"master"}
            and int(facts["num-other-sentinels"]) == len(self._sentinels) - 1
            and sum(well) == expected
        )


def _sentinel(directory: Path, port: int, primary_port: int, down_after_ms: int) -> RedisServer:
    url = f"redis://:{SENTINEL_PASSWORD}@127.0.0.1:{port}"
    sentinel = RedisServer(directory, url, arguments=("--sentinel",))
    settings = {"bind": "127.0.0.1", "port": port, "requirepass": SENTINEL_PASSWORD}
    directives = (
        f"sentinel monitor {SERVICE} 127.0.0.1 {primary_port} {QUORUM}",
        f"sentinel auth-pass {SERVICE} {PASSWORD}",
        f"sentinel down-after-milliseconds {SERVICE} {down_after_ms}",
        f"sentinel failover-timeout {SERVICE} {FAILOVER_TIMEOUT_MS}",
        f"sentinel sentinel-pass {SENTINEL_PASSWORD}",
        "sentinel announce-ip 127.0.0.1",
    )
    sentinel.configure(configuration(settings, *directives))
    return sentinel


async def _hurry(sentinel: RedisServer) -> None:
    # All of them: one with older news than the others would undo what these decide.
    await sentinel.command("SENTINEL", "DEBUG", *QUICKER)


async def _primary_by(sentinel: RedisServer) -> str:
    answer = await sentinel.command("SENTINEL GET-MASTER-ADDR-BY-NAME", SERVICE)
    return ":".join(map(str, answer)) if isinstance(answer, list | tuple) else ""


def _flags(facts: dict[str, Any]) -> set[str]:
    return set(facts["flags"].split(","))


def _copies(facts: dict[str, Any], primary: str) -> bool:
    source = f"{facts.get('master_host')}:{facts.get('master_port')}"
    return facts["role"] == "slave" and source == primary and facts["master_link_status"] == "up"


@asynccontextmanager
async def sentinel_pair(
    directory: Path, *, down_after_ms: int = DOWN_AFTER_MS, settings: Mapping[str, object] = NO_SETTINGS
) -> AsyncIterator[SentinelPair]:
    """Run primary, replica and sentinels below the directory."""
    pair = SentinelPair(directory, down_after_ms, settings)
    try:
        await pair.form()
        yield pair
    finally:
        await pair.stop()
