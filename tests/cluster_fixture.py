"""Where things lie in a cluster, and how to lose some of it, for the tests of gateways on one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.crc import key_slot

from gateway.timings import DEFAULTS, Timings
from realtime import names
from realtime.channels import Table
from realtime.redis.client import connect
from tests.change_stream import ORDERS, Publisher, publisher_to
from tests.gateway_fixture import Client, Gateway, eventually, running_gateway, settings_for
from tests.redis_servers.cluster import ValkeyCluster


@asynccontextmanager
async def gateways(
    database_url: str, cluster: ValkeyCluster, count: int = 1, *, timings: Timings = DEFAULTS
) -> AsyncIterator[list[Gateway]]:
    settings = settings_for(database_url, cluster.url, presence_ttl_seconds=4)
    async with running_gateway(settings, timings=timings) as one:
        await eventually(one.is_ready)
        if count == 1:
            yield [one]
            return
        async with running_gateway(settings, timings=timings) as other:
            await eventually(other.is_ready)
            yield [one, other]


@asynccontextmanager
async def subscribed(
    database_url: str, cluster: ValkeyCluster, *, timings: Timings = DEFAULTS
) -> AsyncIterator[tuple[Gateway, Publisher, Client]]:
    """A gateway, who publishes changes of `orders`, and a client who has subscribed to them."""
    async with (
        gateways(database_url, cluster, timings=timings) as (gateway,),
        publisher_to(gateway.settings) as publisher,
        gateway.client() as client,
    ):
        await client.subscribe("table:orders")
        yield gateway, publisher, client


def slot_of_table(table: Table = ORDERS) -> int:
    return key_slot(names.topic_channel("demo", table.topic).encode())


async def primary_of_table(cluster: ValkeyCluster, table: Table = ORDERS) -> str:
    return await cluster.primary_of(names.topic_channel("demo", table.topic))


async def another_primary(cluster: ValkeyCluster, than: str) -> str:
    return min(await cluster.primaries() - {than})


async def table_elsewhere(cluster: ValkeyCluster, than: str) -> Table:
    """A table whose topic is on another server than this."""
    for number in range(100):
        table = Table("public", f"t{number}")
        if await primary_of_table(cluster, table) != than:
            return table
    raise AssertionError("all tables are on one server")


@asynccontextmanager
async def losing(cluster: ValkeyCluster, primary: str) -> AsyncIterator[None]:
    """Let what is written in the block be lost: the replica that takes over afterwards never gets it."""
    server = cluster.server(primary)
    await server.command("WAIT", 1, 20_000)
    replica = await cluster.replica_of(primary)
    cluster.pause(replica)
    await server.command("CLIENT", "KILL", "TYPE", "replica")
    yield
    await cluster.kill(primary)
    cluster.resume(replica)
    await cluster.wait_taken_over(primary)


async def room_elsewhere(cluster: ValkeyCluster, nodes: int) -> tuple[str, str]:
    """A room whose presence lies on a server where none of so many nodes lives, and that server."""
    async with connect(cluster.url) as store:

        async def all_live() -> list[str] | None:
            lives = [life.decode() for life in await store.call("SMEMBERS", names.nodes())]
            return lives if len(lives) == nodes else None

        lives = await eventually(all_live)
    taken = {await cluster.primary_of(names.node(life)) for life in lives}
    for number in range(100):
        primary = await cluster.primary_of(names.topic_members("demo", f"presence:room:{number}"))
        if primary not in taken:
            return f"room:{number}", primary
    raise AssertionError("all rooms are with the nodes")


async def hear_presence(client: Client) -> tuple[str, list[str]]:
    message = await client.hear()
    return message["event"], [one["user_id"] for one in message["presences"]]


async def rows_after_resync(client: Client, last: int) -> list[int]:
    """What is heard after the last `resync`, up to a row; without a hole."""
    rows: list[int] = []
    while not rows or rows[-1] != last:
        message = await client.hear()
        rows = [] if message["type"] == "resync" else [*rows, message["data"]["id"]]
    assert rows == list(range(rows[0], last + 1))
    return rows
