"""Presence in a cluster of which one server goes back in time, and the others do not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from realtime import keys
from realtime.store import connect
from tests.gateway_fixture import eventually, running_gateway, settings_for, token_for
from tests.redis_servers.cluster import ValkeyCluster, valkey_cluster

pytestmark = pytest.mark.standalone  # on a cluster of its own, which loses a primary

FAIL_OVER_SECONDS = 30.0


@asynccontextmanager
async def losing(cluster: ValkeyCluster, primary: str) -> AsyncIterator[None]:
    """Let what is written in the block be lost: the replica that takes over afterwards never gets it."""
    server, replica = cluster.server(primary), await cluster.replica_of(primary)
    await server.command("WAIT", 1, 5_000)
    cluster.pause(replica)
    await server.command("CLIENT", "KILL", "TYPE", "replica")
    yield
    await cluster.kill(primary)
    cluster.resume(replica)
    await cluster.wait_taken_over(primary)


async def room_not_on(cluster: ValkeyCluster, server: str) -> str:
    for number in range(100):
        if await cluster.primary_of(keys.topic_channel("demo", f"presence:room:{number}")) != server:
            return f"room:{number}"
    raise AssertionError("all rooms are on one server")


async def test_the_last_one_who_left_is_removed_again_when_a_fail_over_brings_them_back(
    database_url: str, tmp_path: Path
):
    """Where a node has people is noted on another server, which has not gone back."""
    async with valkey_cluster(tmp_path) as cluster, connect(cluster.url) as store:
        settings = settings_for(database_url, cluster.url, presence_ttl_seconds=4)
        async with running_gateway(settings) as here, here.client(token_for(sub="alice")) as alice:
            (life,) = await store.call("SMEMBERS", keys.nodes())
            room = await room_not_on(cluster, await cluster.primary_of(keys.node_topics(life.decode())))
            members = keys.topic_members("demo", f"presence:{room}")
            assert (await alice.ask(type="presence", channel=room, state={}, ref=1))["type"] == "ack"
            async with losing(cluster, await cluster.primary_of(members)):
                assert (await alice.ask(type="presence", channel=room, state=None, ref=2))["type"] == "ack"

            async def is_there() -> bool:
                primary = cluster.server(await cluster.primary_of(members))
                return bool(await primary.command("EXISTS", members))

            async def is_gone() -> bool:
                return not await is_there()

            assert await is_there()
            await eventually(is_gone, deadline=FAIL_OVER_SECONDS)
