"""Topics of a real Valkey Cluster stay live while it changes.

What is lost in a fail-over with a replica that lagged is told; what is not lost is delivered once, in order.
"""

from __future__ import annotations

import pytest

from gateway.delivery.timings import DeliveryTimings
from gateway.timings import Timings
from realtime import names
from realtime.errors import Unavailable
from tests.change_stream import publisher_to
from tests.cluster_fixture import (
    another_primary,
    gateways,
    losing,
    primary_of_table,
    rows_after_resync,
    slot_of_table,
    subscribed,
    table_elsewhere,
)
from tests.gateway_fixture import QUICK_REDIS, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_table_whose_slot_moves_goes_on_without_a_hole_and_without_resync(cluster, database_url):
    async with subscribed(database_url, cluster, timings=QUICK_REDIS) as (_, publisher, client):
        for _ in range(2):
            await publisher.publish(3)
            owner = await primary_of_table(cluster)
            await cluster.move_slot(slot_of_table(), await another_primary(cluster, owner))
            await publisher.publish(3)
        assert await client.hear_rows(12) == list(range(1, 13))
        await publisher.publish()
        assert await client.hear_rows(1) == [13]


async def test_what_happens_in_a_slot_that_is_long_on_the_move_is_taken_and_told_in_the_end(
    cluster, database_url
):
    async with subscribed(database_url, cluster, timings=QUICK_REDIS) as (gateway, publisher, client):
        await publisher.publish(2)
        owner = await primary_of_table(cluster)
        async with cluster.moving(slot_of_table(), await another_primary(cluster, owner)) as move_keys:
            await publisher.publish(2)
            await move_keys()
            await publisher.publish(2)
            assert await gateway.is_ready()
        assert await client.hear_rows(6) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("how", ["kill", "pause"])
async def test_what_is_said_to_other_servers_is_taken_while_one_has_nobody_left(cluster, database_url, how):
    timings = Timings(delivery=DeliveryTimings(dead_after_seconds=2.0, probe_seconds=0.1))
    async with gateways(database_url, cluster, timings=timings) as (gateway,), gateway.client() as client:
        lost = await primary_of_table(cluster)
        servers = {
            room: await cluster.primary_of(names.topic_channel("demo", room))
            for room in (f"room:{number}" for number in range(20))
        }
        await cluster.kill(await cluster.replica_of(lost))
        if how == "kill":
            await cluster.kill(lost)
        else:
            cluster.pause(lost)

        async def not_ready() -> bool:
            return not await gateway.is_ready()

        await eventually(not_ready)
        refused = set()
        for room in servers:
            answer = await client.ask(type="broadcast", channel=room, payload=1, ref=room)
            refused |= {room} if answer["type"] == "error" else set()
        assert refused == {room for room, server in servers.items() if server == lost}


async def test_a_clean_fail_over_loses_nothing_of_a_table(cluster, database_url):
    async with (
        gateways(database_url, cluster, 2, timings=QUICK_REDIS) as (here, there),
        publisher_to(here.settings) as publisher,
        here.client() as one,
        there.client() as other,
    ):
        for client in (one, other):
            await client.subscribe("table:orders")
        await publisher.publish(3)
        await cluster.failover(await primary_of_table(cluster))
        await publisher.publish(3)
        for client in (one, other):
            assert await client.hear_rows(6) == list(range(1, 7))


async def test_topics_of_other_servers_go_on_while_one_hangs(cluster, database_url):
    async with subscribed(database_url, cluster) as (_, publisher, client):
        hanging = await primary_of_table(cluster)
        table = await table_elsewhere(cluster, than=hanging)
        await client.subscribe(f"table:{table.name}")
        cluster.pause(hanging)
        for number in range(1, 21):
            await publisher.publish(table=table)
            assert await client.hear_rows(1) == [number]
        cluster.resume(hanging)


async def test_what_a_replica_that_takes_over_never_had_is_told_as_resync(cluster, database_url):
    async with subscribed(database_url, cluster, timings=QUICK_REDIS) as (_, publisher, client):
        await publisher.publish(2)
        assert await client.hear_rows(2) == [1, 2]
        async with losing(cluster, await primary_of_table(cluster)):
            await publisher.publish(3)
            assert await client.hear_rows(3) == [3, 4, 5]

        async def published() -> bool:
            try:
                return bool(await publisher.publish())
            except Unavailable:
                return False

        await eventually(published)
        assert (await client.hear())["type"] == "resync"
        await publisher.publish()
        assert await rows_after_resync(client, publisher.published)
