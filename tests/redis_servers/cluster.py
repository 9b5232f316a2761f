"""A Valkey Cluster of three primaries and three replicas, and what may happen to one.

Started from the wheel by whoever tests on a cluster; the servers are told about each other by the commands
that an administrator would use. A server is called by its address, HOST:PORT.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from redis.crc import key_slot

from tests.ports import free_ports
from tests.redis_servers.cluster_view import SLOTS, Node, is_healthy, views_of
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

SHARDS = 3
NODE_TIMEOUT_MS = (
    2_000  # who is silent for so long is taken for dead; with the vote, a fail-over takes twice that
)
KEYS_AT_ONCE = 100  # of a slot that moves
MOVE_MS = 5_000


class ValkeyCluster:
    """Six servers; `url` names all of them, since any may be down."""

    def __init__(self, directory: Path, settings: dict[str, object]) -> None:
        ports = free_ports(4 * SHARDS)
        self._servers: dict[str, RedisServer] = {}
        self._bus_ports: dict[str, int] = {}
        for port, bus_port in zip(ports[::2], ports[1::2], strict=True):
            server = RedisServer(directory / str(port), f"redis://:{PASSWORD}@127.0.0.1:{port}/0")
            own = {"port": port, "cluster-port": bus_port}
            server.configure(configuration({**COMMON, **settings, **own}))
            self._servers[server.address] = server
            self._bus_ports[server.address] = bus_port

    def __repr__(self) -> str:
        return f"<ValkeyCluster {list(self._servers.values())}>"

    @property
    def url(self) -> str:
        return f"redis+cluster://:{PASSWORD}@{','.join(self._servers)}"

    @property
    def addresses(self) -> list[str]:
        return list(self._servers)

    @property
    def answering(self) -> list[RedisServer]:
        return [server for server in self._servers.values() if server.answers]

    def server(self, address: str) -> RedisServer:
        return self._servers[address]

    async def form(self) -> None:
        """Start all servers and make them a cluster."""
        servers = list(self._servers.values())
        primaries, replicas = servers[:SHARDS], servers[SHARDS:]
        await start_all(servers)
        for shard, primary in enumerate(primaries):
            first, last = shard * SLOTS // SHARDS, (shard + 1) * SLOTS // SHARDS - 1
            await primary.command("CLUSTER", "ADDSLOTSRANGE", first, last)
        for epoch, server in enumerate(servers, 1):
            await server.command("CLUSTER", "SET-CONFIG-EPOCH", epoch)
        for known, server in enumerate(servers):
            await self._introduce(server, servers[:known])
        await wait_until(self._have_all_met, "all servers know each other")
        for primary, replica in zip(primaries, replicas, strict=True):
            await replica.command("CLUSTER", "REPLICATE", await self._id(primary.address))
        await self.wait_healthy()

    async def heal(self) -> None:
        """Start again whoever is down or frozen, and wait until all is well."""
        await start_again(self._servers.values())
        await self.wait_healthy()

    async def stop(self) -> None:
        await kill_all(self._servers.values())

    async def flush(self) -> None:
        """Delete everything that the cluster holds."""
        for address in await self.primaries():
            await self._servers[address].command("FLUSHALL")

    async def wait_healthy(self) -> None:
        """Wait until those that answer agree on who does what, own every slot, and have a copy each."""

        async def healthy() -> bool:
            return is_healthy(await views_of(self.answering), {server.address for server in self.answering})

        await wait_until(healthy, f"{self!r} is healthy")

    async def primaries(self) -> set[str]:
        """Return the addresses of those that own slots, by their own word."""
        return {me.address for me in await self._members() if me.is_primary and me.slots}

    async def primary_of(self, key: str) -> str:
        """Return the address of the server that a key lies on now."""
        return (await self._owner(key_slot(key.encode()))).address

    async def replica_of(self, primary: str) -> str:
        """Return the address of the server that copies a primary; it must answer."""
        copied = await self._id(primary)
        (replica,) = (me for me in await self._members() if me.primary == copied)
        return replica.address

    async def kill(self, address: str) -> None:
        """End a server at once. If it comes back, it is empty, so wait for the fail-over first."""
        await self._servers[address].kill()

    async def start(self, address: str) -> None:
        await self._servers[address].start()

    def pause(self, address: str) -> None:
        self._servers[address].pause()

    def resume(self, address: str) -> None:
        self._servers[address].resume()

    async def failover(self, primary: str) -> None:
        """Let a primary and its replica change their parts, without loss."""
        replica = self._servers[await self.replica_of(primary)]
        await replica.command("CLUSTER", "FAILOVER")
        await self.wait_taken_over(primary)
        await self.wait_healthy()

    async def wait_taken_over(self, primary: str) -> None:
        """Wait until none of those that answer takes this server for a primary."""

        async def taken_over() -> bool:
            views = await views_of(self.answering)
            return bool(views) and not any(view.nodes[primary].slots for view in views)

        await wait_until(taken_over, f"{primary} is replaced in {self!r}")

    async def move_slot(self, slot: int, to: str) -> None:
        """Move a slot with its keys to another primary, while clients use it."""
        async with self.moving(slot, to) as move_keys:
            await move_keys()

    @asynccontextmanager
    async def moving(self, slot: int, to: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Have a slot on the move while the block runs, which gets the way to move its keys."""
        owner = await self._owner(slot)
        source, target = self._servers[owner.address], self._servers[to]
        await target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", owner.id)
        await source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", await self._id(to))
        yield partial(self._move_keys, slot, source, target)
        for server in (target, source):
            await server.command("CLUSTER", "SETSLOT", slot, "NODE", await self._id(to))
        await self.wait_healthy()

    async def _move_keys(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        async with source.client() as client:
            while keys := await client.execute_command("CLUSTER GETKEYSINSLOT", slot, KEYS_AT_ONCE):
                host, port = target.address.split(":")
                await client.execute_command(
                    "MIGRATE", host, port, "", 0, MOVE_MS, "AUTH", PASSWORD, "KEYS", *keys
                )

    async def migrate_slots(self, slots: Sequence[int], to: str) -> None:
        """Have the servers move slots of one primary to another, each with its keys as a whole."""
        ranges = [word for slot in slots for word in (slot, slot)]
        source = self._servers[(await self._owner(slots[0])).address]
        await source.command("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", *ranges, "NODE", await self._id(to))

        async def moved() -> bool:
            return all([(await self._owner(slot)).address == to for slot in slots])

        await wait_until(moved, f"slots {slots} are moved to {to}")
        await self.wait_healthy()

    async def _introduce(self, newcomer: RedisServer, others: list[RedisServer]) -> None:
        # To each of them, which is quicker than gossip.
        for other in others:
            bus_port = self._bus_ports[other.address]
            await newcomer.command("CLUSTER", "MEET", "127.0.0.1", other.port, bus_port)

    async def _have_all_met(self) -> bool:
        views = await views_of(self._servers.values())
        return len(views) == len(self._servers) and all(
            set(view.nodes) == set(self._servers) and all(node.is_well for node in view.nodes.values())
            for view in views
        )

    async def _owner(self, slot: int) -> Node:
        """Ask everybody who owns a slot. Of several who claim it, the one with the highest epoch does."""
        claims: list[Node] = []

        async def claimed() -> list[Node]:
            claims.extend(me for me in await self._members() if me.is_primary and me.owns(slot))
            return claims

        await wait_until(claimed, f"slot {slot} has an owner")
        return max(claims, key=lambda node: node.epoch)

    async def _members(self) -> list[Node]:
        """Return those that answer, each as it sees itself."""
        return [view.myself for view in await views_of(self.answering)]

    async def _id(self, address: str) -> str:
        view = (await views_of(self.answering))[0]
        return view.nodes[address].id


@asynccontextmanager
async def valkey_cluster(
    directory: Path,
    *,
    node_timeout_ms: int = NODE_TIMEOUT_MS,
    needs_all_slots: bool = False,
    settings: Mapping[str, object] = NO_SETTINGS,
) -> AsyncIterator[ValkeyCluster]:
    """Run a cluster below the directory. With `needs_all_slots` it answers only when each has an owner."""
    cluster = ValkeyCluster(
        directory,
        {
            "cluster-enabled": "yes",
            "cluster-announce-ip": "127.0.0.1",
            "cluster-node-timeout": node_timeout_ms,
            "cluster-require-full-coverage": "yes" if needs_all_slots else "no",
            "cluster-replica-validity-factor": 0,  # a replica of whatever age takes over
            "cluster-allow-replica-migration": "no",  # each replica stays with its shard
            **settings,
        },
    )
    try:
        await cluster.form()
        yield cluster
    finally:
        await cluster.stop()
