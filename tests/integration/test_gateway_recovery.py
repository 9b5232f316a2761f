"""A client that comes back: `since`, positions, order, on one node and across two."""

from __future__ import annotations

import asyncio
from itertools import chain

import pytest

from realtime import names
from realtime.channels import Event
from tests.change_stream import publisher_to
from tests.gateway_fixture import running_gateway, settings_for
from tests.stalling_proxy import stalling_proxy


async def test_since_an_id_brings_everything_after_it_and_then_what_is_live(gateway, publisher):
    async with gateway.client() as client:
        await client.subscribe("table:orders")
        await publisher.publish(5)
        ids = [(await client.hear())["id"] for _ in range(5)]
    await publisher.publish(3)
    async with gateway.client() as client:
        answer = await client.subscribe("table:orders", since=ids[1])
        await publisher.publish(2)
        assert await client.hear_rows(8) == [3, 4, 5, 6, 7, 8, 9, 10]
    assert (answer["recovered"], answer["position"]) == (True, ids[1])


async def test_since_the_position_of_a_subscription_brings_everything_after_it(gateway, publisher):
    await publisher.publish(2)
    async with gateway.client() as client:
        position = (await client.subscribe("table:orders"))["position"]
    await publisher.publish(3)
    async with gateway.client() as client:
        assert (await client.subscribe("table:orders", since=position))["recovered"] is True
        assert await client.hear_rows(3) == [3, 4, 5]


async def test_since_works_on_a_table_without_any_change_so_far(gateway, publisher):
    async with gateway.client() as client:
        position = (await client.subscribe("table:orders"))["position"]
        answer = await client.subscribe("table:orders", since=position)
        assert (answer["recovered"], answer["position"]) == (True, position)
        await publisher.publish()
        assert await client.hear_rows(1) == [1]


async def test_since_the_last_id_brings_nothing_twice(gateway, publisher):
    async with gateway.client() as client:
        await client.subscribe("table:orders")
        await publisher.publish()
        last = (await client.hear())["id"]
        assert (await client.subscribe("table:orders", since=last))["recovered"] is True
        await publisher.publish()
        assert await client.hear_rows(1) == [2]


async def test_an_id_of_one_spelling_recovers_another_with_its_own_event(gateway, publisher):
    async with gateway.client() as client:
        await client.subscribe("table:orders")
        await publisher.publish()
        seen = (await client.hear())["id"]
    await publisher.publish(2, Event.INSERT)
    await publisher.publish(2, Event.DELETE)
    async with gateway.client() as client:
        assert (await client.subscribe("table:public.orders:DELETE", since=seen))["recovered"] is True
        assert await client.hear_rows(2) == [4, 5]


async def test_an_id_is_valid_on_another_node(gateway, publisher):
    async with gateway.client() as client:
        await client.subscribe("table:orders")
        await publisher.publish(2)
        seen = (await client.hear())["id"]
    async with running_gateway(gateway.settings) as other, other.client() as client:
        answer = await client.subscribe("table:orders", since=seen)
        assert (answer["recovered"], answer["position"]) == (True, seen)
        assert await client.hear_rows(1) == [2]


@pytest.mark.standalone  # behind a proxy to one server
async def test_an_id_is_valid_on_a_node_that_has_not_heard_of_it_yet(
    gateway, publisher, redis_url, database_url
):
    async with (
        stalling_proxy(redis_url) as proxy,
        running_gateway(settings_for(database_url, proxy.url)) as late,
        gateway.client() as here,
        late.client() as there,
    ):
        await here.subscribe("table:orders")
        await there.subscribe("table:orders")
        proxy.open.clear()
        await publisher.publish(3)
        seen = [(await here.hear())["id"] for _ in range(3)]
        async with late.client() as hopped:
            await hopped.say(type="subscribe", channel="table:orders", since=seen[1])
            await publisher.publish()
            proxy.open.set()
            answer = await hopped.hear()
            assert (answer["type"], answer["recovered"], answer["position"]) == ("subscribed", True, seen[1])
            assert await hopped.hear_rows(2) == [3, 4]
        assert await there.hear_rows(4) == [1, 2, 3, 4]


async def test_two_nodes_tell_the_same_changes_in_the_same_order_with_the_same_ids(gateway, publisher):
    async with (
        running_gateway(gateway.settings) as other,
        gateway.client() as here,
        other.client() as there,
    ):
        await here.subscribe("table:orders")
        await there.subscribe("table:orders")
        for size in range(1, 20):
            await publisher.publish(size)
        heard = [[(await client.hear()) for _ in range(publisher.published)] for client in (here, there)]
    assert heard[0] == heard[1]
    assert [change["data"]["id"] for change in heard[0]] == list(range(1, publisher.published + 1))


async def test_a_client_that_hops_between_nodes_amid_a_stream_misses_nothing(gateway, publisher):
    async with running_gateway(gateway.settings) as other, gateway.client() as first:
        await first.subscribe("table:orders")
        await publisher.publish()
        seen = (await first.hear())["id"]

        async def publish_on() -> None:
            for _ in range(200):
                await publisher.publish(2)
                await asyncio.sleep(0)

        rows: list[int] = []
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(publish_on(), name="stream")
            for hop in range(20):
                async with (other, gateway)[hop % 2].client() as client:
                    assert (await client.subscribe("table:orders", since=seen))["recovered"] is True
                    for _ in range(10):
                        change = await client.hear()
                        rows.append(change["data"]["id"])
                        seen = change["id"]
    assert rows == list(range(2, 202))


@pytest.mark.parametrize(
    "since", ["", "x", "-1", "abc-", "abc--1", "abc-1.5", "abc-9999999999999999", "ABC-1", "a b-1"]
)
async def test_a_malformed_since_is_refused_by_name(gateway, since):
    async with gateway.client() as client:
        refused = await client.ask(type="subscribe", channel="table:orders", since=since, ref=1)
        assert (refused["code"], refused["ref"], refused["channel"]) == ("invalid_message", 1, "table:orders")
        assert "since" in refused["message"]


@pytest.mark.parametrize("since", [5, True, [], {"id": "abc-1"}])
async def test_a_since_of_a_wrong_type_is_refused_by_name(gateway, since):
    async with gateway.client() as client:
        refused = await client.ask(type="subscribe", channel="table:orders", since=since)
        assert refused["code"] == "invalid_message"
        assert "since" in refused["message"]


@pytest.mark.parametrize("since", ["ffffffffffff-1", "ffffffffffff-0"])
async def test_since_an_id_of_a_history_that_is_gone_does_not_recover(gateway, publisher, since):
    await publisher.publish(2)
    async with gateway.client() as client:
        answer = await client.subscribe("table:orders", since=since)
        assert answer["recovered"] is False
        assert answer["position"] != since
        await publisher.publish()
        assert await client.hear_rows(1) == [3]


async def test_since_an_id_from_the_future_does_not_recover(gateway, publisher):
    async with gateway.client() as client:
        position = (await client.subscribe("table:orders"))["position"]
        answer = await client.subscribe("table:orders", since=position.replace("-0", "-7"))
        assert (answer["recovered"], answer["position"]) == (False, position)


async def test_history_that_does_not_reach_back_does_not_recover(database_url, redis_url):
    settings = settings_for(database_url, redis_url, history_entries=10)
    async with (
        running_gateway(settings) as gateway,
        publisher_to(settings) as publisher,
        gateway.client() as client,
    ):
        start = (await client.subscribe("table:orders"))["position"]
        for _ in range(30):
            await publisher.publish()
        ids = [(await client.hear())["id"] for _ in range(30)]
        assert (await client.subscribe("table:orders", since=start))["recovered"] is False
        assert (await client.subscribe("table:orders", since=ids[15]))["recovered"] is False
        assert (await client.subscribe("table:orders", since=ids[20]))["recovered"] is True
        assert await client.hear_rows(9) == list(range(22, 31))


async def test_recovery_amid_a_stream_joins_up_without_a_hole(gateway, publisher):
    async with gateway.client() as client:
        start = (await client.subscribe("table:orders"))["position"]
    await publisher.publish(500)

    async def publish_on() -> None:
        for _ in range(100):
            await publisher.publish(5)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(publish_on(), name="stream")
        for _ in range(5):
            async with gateway.client() as client:
                await client.subscribe("table:orders", since=start)
                assert await client.hear_rows(1000) == list(range(1, 1001))


async def test_a_burst_of_one_transaction_recovers_from_its_middle(gateway, publisher):
    async with gateway.client() as client:
        await client.subscribe("table:orders")
        await publisher.publish(100)
        ids = [(await client.hear())["id"] for _ in range(100)]
        await client.subscribe("table:orders", since=ids[49])
        assert await client.hear_rows(50) == list(range(51, 101))


async def test_a_redis_that_went_back_within_an_epoch_is_told_as_resync(gateway, publisher, store):
    meta, history = (
        names.topic_meta("demo", "table:public.orders"),
        names.topic_history("demo", "table:public.orders"),
    )
    async with gateway.client() as client:
        await client.subscribe("table:orders")
        before = await store.call("HGETALL", meta)
        ids = []
        for _ in range(5):
            await publisher.publish()
            ids.append((await client.hear())["id"])
            before = await store.call("HGETALL", meta) if len(ids) == 3 else before
        await store.call("HSET", meta, *chain.from_iterable(before.items()))
        for entry, _ in await store.call("XREVRANGE", history, "+", "-", "COUNT", 2):
            await store.call("XDEL", history, entry)
        assert sum((await store.everywhere("CLIENT", "KILL", "TYPE", "pubsub")).values())
        resync = await client.hear()
        assert (resync["type"], resync["position"]) == ("resync", ids[2])
        assert (await client.subscribe("table:orders", since=ids[4]))["recovered"] is False
        assert (await client.subscribe("table:orders", since=ids[1]))["recovered"] is True
        assert await client.hear_rows(1) == [3]


async def test_what_a_client_said_to_others_alone_does_not_come_back_to_it(gateway):
    async with gateway.client() as client:
        start = (await client.subscribe("room:a"))["position"]
        for payload, to_self in [(1, True), (2, False), (3, True)]:
            await client.say(type="broadcast", channel="room:a", payload=payload, self=to_self)
        assert [(await client.hear())["payload"] for _ in range(2)] == [1, 3]
        assert (await client.subscribe("room:a", since=start))["recovered"] is True
        assert [(await client.hear())["payload"] for _ in range(2)] == [1, 3]
        assert (await client.ask(type="ping"))["type"] == "pong"
