"""A gateway and its Redis: lost connections, a Redis that is away, a Redis that forgot everything."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.delivery.timings import DeliveryTimings
from gateway.timings import Timings
from realtime.redis.client import Store
from tests.change_stream import background, publisher_to
from tests.gateway_fixture import eventually, running_gateway, settings_for
from tests.ports import free_port
from tests.servers import throw_away_valkey

QUICK = DeliveryTimings(first_retry_seconds=0.02, last_retry_seconds=0.1)
IMPATIENT = Timings(delivery=replace(QUICK, join_seconds=1.5))


@pytest.fixture
def timings():
    return Timings(delivery=QUICK)


async def kill(store: Store, kind: str) -> int:
    """Cut all connections of a kind; return how many they were."""
    return sum((await store.everywhere("CLIENT", "KILL", "TYPE", kind)).values())


async def test_a_subscription_cut_mid_stream_loses_nothing_and_doubles_nothing(gateway, publisher, store):
    async with gateway.client() as client:
        await client.subscribe("table:orders")
        await client.subscribe("table:orders:INSERT")
        for _ in range(5):
            await publisher.publish(20)
            assert await eventually(lambda: kill(store, "pubsub"))
            for _ in range(20):
                await publisher.publish()
        heard: dict[str, list[int]] = {"table:orders": [], "table:orders:INSERT": []}
        for _ in range(2 * publisher.published):
            change = await client.hear()
            heard[change["channel"]].append(change["data"]["id"])
    assert set(map(tuple, heard.values())) == {tuple(range(1, publisher.published + 1))}


async def test_connections_of_every_kind_cut_again_and_again_lose_nothing(gateway, publisher, store):
    async with gateway.client() as client:
        await client.subscribe("table:orders")

        async def keep_cutting() -> None:
            while True:
                await kill(store, "pubsub")
                await asyncio.sleep(0.03)

        async with background(asyncio.create_task(keep_cutting(), name="cut")):
            for _ in range(50):
                await publisher.publish(3)
                await asyncio.sleep(0.01)
        assert await client.hear_rows(150) == list(range(1, 151))


async def test_a_gap_beyond_history_is_told_as_resync(database_url, redis_url, store):
    timings = Timings(delivery=replace(QUICK, first_retry_seconds=1))
    settings = settings_for(database_url, redis_url, history_entries=5)
    async with (
        running_gateway(settings, timings=timings) as gateway,
        publisher_to(settings) as publisher,
        gateway.client() as client,
    ):
        await client.subscribe("table:orders")
        await publisher.publish()
        assert await client.hear_rows(1) == [1]
        assert await kill(store, "pubsub")
        for _ in range(50):
            await publisher.publish()
        await expect_resync_and_more(client, publisher)


async def expect_resync_and_more(client, publisher):
    """What follows a resync is complete, in order, and joins up with its position."""
    message = await client.hear()
    while message["type"] == "realtime":
        message = await client.hear()
    assert (message["type"], message["channel"]) == ("resync", "table:orders")
    position = message["position"]
    expected = (await publisher.publish(2))[-1]
    rows = await client.hear_rows(1)
    while rows[-1] != expected:
        rows += await client.hear_rows(1)
    assert rows == list(range(rows[0], expected + 1))
    assert (await client.subscribe("table:orders", since=position))["recovered"] is True
    assert await client.hear_rows(len(rows)) == rows


async def test_a_redis_that_forgot_everything_is_told_as_resync(gateway, publisher, store):
    async with gateway.client() as client:
        await client.subscribe("table:orders")
        await publisher.publish(3)
        assert await client.hear_rows(3) == [1, 2, 3]
        await store.everywhere("FLUSHALL")
        await publisher.publish()
        await expect_resync_and_more(client, publisher)


async def test_a_redis_that_forgot_before_anything_was_published_needs_no_resync(gateway, publisher, store):
    async with gateway.client() as client:
        await client.subscribe("table:orders")
        await store.everywhere("FLUSHALL")
        await publisher.publish(2)
        assert await client.hear_rows(2) == [1, 2]


@pytest.fixture
async def mortal(tmp_path, database_url):
    """Settings of a gateway, and the way to run the Redis of theirs while a block lasts."""
    port = free_port()
    async with throw_away_valkey(tmp_path / "valkey", port=port) as server:
        settings = settings_for(database_url, server.url)

    def running():
        return throw_away_valkey(tmp_path / "valkey", port=port)

    return settings, running


async def test_without_redis_a_subscribe_is_held_then_unavailable_and_the_socket_lives(mortal):
    settings, _ = mortal
    async with running_gateway(settings, timings=IMPATIENT) as gateway, gateway.client() as client:
        refused = await client.ask(type="subscribe", channel="table:orders", ref="held")
        assert (refused["code"], refused["channel"], refused["ref"]) == (
            "unavailable",
            "table:orders",
            "held",
        )
        assert (await client.ask(type="ping"))["type"] == "pong"
        assert (await client.ask(type="unsubscribe", channel="table:orders"))["type"] == "unsubscribed"


async def test_a_subscribe_that_is_held_is_answered_when_redis_comes(mortal):
    timings = Timings(delivery=replace(QUICK, join_seconds=60))
    settings, running = mortal
    async with running_gateway(settings, timings=timings) as gateway, gateway.client() as client:
        await client.say(type="subscribe", channel="table:orders")
        async with running(), publisher_to(gateway.settings) as publisher:
            assert (await client.hear())["type"] == "subscribed"
            await publisher.publish()
            assert await client.hear_rows(1) == [1]


async def test_streams_go_on_when_redis_comes_back_without_its_memory(mortal):
    settings, running = mortal
    async with running_gateway(settings, timings=IMPATIENT) as gateway, gateway.client() as client:
        async with running(), publisher_to(settings) as publisher:
            await eventually(lambda: is_subscribed(client))
            await publisher.publish(2)
            assert await client.hear_rows(2) == [1, 2]
        assert (await client.ask(type="subscribe", channel="room:a"))["code"] == "unavailable"
        async with running(), publisher_to(settings) as publisher:
            assert (await client.hear())["type"] == "resync"
            await publisher.publish()
            assert await client.hear_rows(1) == [1]
            await client.subscribe("room:a")


async def is_subscribed(client):
    return (await client.ask(type="subscribe", channel="table:orders"))["type"] == "subscribed"
