"""Presence in a cluster of which one server goes back in time, and the others do not."""

from __future__ import annotations

import pytest

from realtime import names
from realtime.redis.client import connect
from tests.cluster_fixture import (
    gateways,
    hear_presence,
    losing,
    room_elsewhere,
)
from tests.gateway_fixture import QUICK_REDIS, eventually, running_gateway, settings_for, token_for
from tests.redis_servers.cluster import ValkeyCluster

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def room_not_on(cluster: ValkeyCluster, server: str) -> str:
    for number in range(100):
        if await cluster.primary_of(names.topic_channel("demo", f"presence:room:{number}")) != server:
            return f"room:{number}"
    raise AssertionError("all rooms are on one server")


async def test_the_last_one_who_left_is_removed_again_when_a_fail_over_brings_them_back(
    database_url: str, cluster: ValkeyCluster
):
    """Where a node has people is noted on another server, which has not gone back."""
    async with connect(cluster.url) as store:
        settings = settings_for(database_url, cluster.url, presence_ttl_seconds=4)
        async with running_gateway(settings) as here, here.client(token_for(sub="alice")) as alice:
            (life,) = await eventually(lambda: store.call("SMEMBERS", names.nodes()))
            room = await room_not_on(cluster, await cluster.primary_of(names.node_topics(life.decode())))
            members = names.topic_members("demo", f"presence:{room}")
            assert (await alice.ask(type="presence", channel=room, state={}, ref=1))["type"] == "ack"
            async with losing(cluster, await cluster.primary_of(members)):
                assert (await alice.ask(type="presence", channel=room, state=None, ref=2))["type"] == "ack"

            async def is_there() -> bool:
                primary = cluster.server(await cluster.primary_of(members))
                return bool(await primary.command("EXISTS", members))

            async def is_gone() -> bool:
                return not await is_there()

            assert await is_there()
            await eventually(is_gone)


async def test_presence_that_a_replica_never_had_is_put_back(cluster, database_url):
    """The life of the node lies on another server, which does not change."""
    async with (
        gateways(database_url, cluster, 2, timings=QUICK_REDIS) as (here, there),
        here.client(token_for(sub="alice")) as alice,
        there.client(token_for(sub="bob")) as bob,
    ):
        room, primary = await room_elsewhere(cluster, nodes=2)
        await bob.subscribe(f"presence:{room}")
        assert await hear_presence(bob) == ("sync", [])
        async with losing(cluster, primary):
            assert (await alice.ask(type="presence", channel=room, state={"n": 1}, ref=1))["type"] == "ack"
            assert await hear_presence(bob) == ("join", ["alice"])

        async def is_there() -> bool:
            status, answer, _ = await there.rest("GET", f"/presence?channel={room}", token_for())
            return status == 200 and [one["user_id"] for one in answer["presences"]] == ["alice"]

        await eventually(is_there)
