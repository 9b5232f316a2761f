"""The keys that clients can make in Redis: by what, how large, for how long, how many. With a real Redis."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.broker import EMPTY_SECONDS
from gateway.delivery.timings import DeliveryTimings
from gateway.http.routes import ENDPOINTS
from gateway.timings import Timings
from gateway.wire import native_messages
from realtime import names
from realtime.redis.client import Store
from tests.fleet_fixture import SERVICE
from tests.gateway_fixture import Client, Gateway, eventually, running_gateway, settings_for, stays, token_for
from tests.redis_keys import changed_since, keys_in

NAMES = 500
LONG = "x" * 200  # of a channel's name


# Asking


ANYTHING = {"table_name": "orders"}
REQUESTS: dict[tuple[str, str], tuple[dict[str, Any], tuple[str, ...]]] = {
    # What is asked, and the keys that it may change.
    ("POST", "/enable"): ({"json": ANYTHING}, ()),
    ("POST", "/disable"): ({"json": ANYTHING}, ()),
    ("GET", "/status"): ({}, ()),
    ("GET", "/tables"): ({}, ()),
    ("GET", "/presence"): ({"params": {"channel": "room:nobody"}}, ()),
    ("GET", "/connections"): ({"params": {"user_id": "nobody"}}, ()),
    ("POST", "/broadcast"): (
        {"json": {"channel": "room:a", "payload": 1}},
        (names.topic_meta("demo", "room:a"), names.topic_history("demo", "room:a")),
    ),
    ("GET", "/stats"): ({}, ()),
    ("GET", "/clients"): ({"params": {"user_id": "nobody"}}, ()),
    ("GET", "/channels"): ({"params": {"prefix": "room:"}}, ()),
    ("POST", "/disconnect"): ({"json": {"user_id": "nobody"}}, ()),
    ("GET", "/settings"): ({}, ()),
    ("POST", "/enable/preview"): ({"json": ANYTHING}, ()),
    ("POST", "/disable/preview"): ({"json": ANYTHING}, ()),
}


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda one: f"{one.method} {one.path}")
async def test_who_asks_by_rest_leaves_nothing_in_redis(gateway, sql, store, endpoint):
    more, may_change = REQUESTS[endpoint.method, endpoint.path]
    async with gateway.client():
        before = await keys_in(store)
        for _ in range(3):
            status, answer, _ = await gateway.rest(endpoint.method, endpoint.path, SERVICE, **more)
            assert status < 300, answer
        assert set(await changed_since(store, before)) == set(may_change)


META, HISTORY = names.topic_meta("demo", "room:a"), names.topic_history("demo", "room:a")
LOBBY = "presence:room:lobby"
MESSAGES: list[tuple[dict[str, Any], set[str]]] = [
    ({"type": "subscribe", "channel": "room:a"}, {META}),
    ({"type": "subscribe", "channel": "table:nothing"}, {names.topic_meta("demo", "table:public.nothing")}),
    ({"type": "subscribe", "channel": LOBBY}, set()),
    ({"type": "subscribe", "channel": "presence"}, set()),
    ({"type": "unsubscribe", "channel": "room:a"}, set()),
    ({"type": "broadcast", "channel": "room:a", "payload": 1}, {META, HISTORY}),
    (
        {"type": "presence", "channel": "room:lobby", "state": {}},
        {names.topic_members("demo", LOBBY), names.topic_meta("demo", LOBBY)},
    ),
    ({"type": "presence", "channel": "room:lobby", "state": None}, set()),
    ({"type": "ping"}, set()),
    ({"type": "auth", "token": token_for()}, set()),
    ({"type": "nonsense"}, set()),
]


@pytest.mark.parametrize(
    ("message", "may_change"), MESSAGES, ids=[str(message)[:60] for message, _ in MESSAGES]
)
async def test_a_message_leaves_what_it_is_for_and_nothing_for_ever(gateway, store, message, may_change):
    async with gateway.client() as client:
        before = await keys_in(store)
        answer = await client.ask(**message, ref=1)
        assert answer["type"] == ("error" if message["type"] == "nonsense" else answer["type"]), answer
        changed = await changed_since(store, before)
        assert set(changed) == may_change
        assert all(key.ttl_ms > 0 for key in changed.values())


def test_every_message_of_a_client_is_asked_for_what_it_leaves():
    kinds = {str(kind.__struct_config__.tag) for kind in native_messages.ClientMessage.__subclasses__()}
    assert {message["type"] for message, _ in MESSAGES} == kinds | {"nonsense"}


# Subscribing to new names


def leaving(topics: int) -> Timings:
    """The clients of a project may leave so many empty topics behind."""
    return Timings(delivery=DeliveryTimings(left_by_project=topics))


async def turn(client: Client, channel: str) -> dict[str, Any]:
    """Subscribe to a channel, and leave it."""
    answer = await client.ask(type="subscribe", channel=channel)
    await client.ask(type="unsubscribe", channel=channel)
    return answer


@pytest.mark.parametrize("channels", [100])
@pytest.mark.parametrize("channel", ["room:{}", f"room:{LONG}{{}}", "table:nothing{}"], ids=len)
async def test_a_new_name_leaves_less_than_600_bytes_for_five_minutes(fast, store, capsys, channel):
    async with fast.client() as client:
        before, used_before = await keys_in(store), await used_memory(store)
        for number in range(NAMES):
            await turn(client, channel.format(number))
        used = (await used_memory(store) - used_before) // NAMES
        made = await changed_since(store, before)
        assert len(made) == NAMES
        assert all(0 < key.ttl_ms <= 1000 * EMPTY_SECONDS <= 300_000 for key in made.values())
        sizes = [key.size for key in made.values()]
        with capsys.disabled():
            told = f"{min(sizes)} to {max(sizes)} bytes a name, {used} with what lies around it"
            print(f"\n{channel[:12]}…: {told}, for {EMPTY_SECONDS:g} s")  # noqa: T201
        assert max(sizes) < 600


async def used_memory(store: Store) -> int:
    found = (await store.everywhere("INFO", "memory")).values()
    return sum(memory["used_memory"] for memory in found)


async def test_what_was_left_is_gone_and_what_somebody_hears_stays(database_url, redis_url, store):
    """What is empty is kept no longer than history is."""
    async with running_gateway(settings_for(database_url, redis_url, history_seconds=3)) as gateway:
        await eventually(gateway.is_ready)
        async with gateway.client() as client:
            before = await keys_in(store)
            position = (await client.subscribe("room:heard"))["position"]
            for number in range(20):
                await turn(client, f"room:{number}")
            heard = {names.topic_meta("demo", "room:heard")}

            async def only_what_is_heard() -> bool:
                return set(await changed_since(store, before)) == heard

            await eventually(only_what_is_heard)
            await stays(only_what_is_heard, 6.0)  # twice as long as it would live by itself
            assert (await client.subscribe("room:heard", since=position))["recovered"] is True
            await client.ask(type="unsubscribe", channel="room:heard")

            async def nothing() -> bool:
                return not await changed_since(store, before)

            await eventually(nothing)


async def test_who_comes_back_to_an_empty_channel_within_minutes_is_recovered_on_any_node(here, there):
    async with here.client() as client:
        position = (await turn(client, "room:quiet"))["position"]
    for gateway in (here, there):
        async with gateway.client() as client, there.client() as speaker:
            answer = await client.subscribe("room:quiet", since=position)
            assert (answer["recovered"], answer["position"]) == (True, position)
            if gateway is there:
                await speaker.ask(type="broadcast", channel="room:quiet", payload="first", ref=1)
                assert (await client.hear())["payload"] == "first"
    async with here.client() as client:
        assert (await client.subscribe("room:quiet", since=position))["recovered"] is True
        assert (await client.hear())["payload"] == "first"


async def test_the_position_of_an_enabled_table_lasts_as_long_as_history(gateway, sql, store):
    await gateway.enable("orders")
    async with gateway.client() as client:
        assert (await client.subscribe("table:orders"))["enabled"] is True
        ttl_ms = await store.call("PTTL", names.topic_meta("demo", "table:public.orders"))
        assert 300_000 < ttl_ms <= 3_600_000


async def test_the_position_of_a_table_that_had_changes_stays_for_ever(gateway, publisher, store):
    meta = names.topic_meta("demo", "table:public.orders")
    async with gateway.client() as client:
        await client.subscribe("table:orders")
        assert await store.call("PTTL", meta) > 0
        await publisher.publish()
        assert await client.hear_rows(1) == [1]
        assert await store.call("PTTL", meta) == -1
        await turn(client, "table:public.orders")
        assert await store.call("PTTL", meta) == -1


async def test_a_connection_that_leaves_too_many_new_names_is_refused_others_and_lives_on(fast, store):
    async with fast.client() as client, fast.client() as other:
        await other.subscribe("room:other")
        for number in range(20):
            assert (await turn(client, f"room:{number}"))["type"] == "subscribed"
        await eventually(lambda: has_left(store, fast, client))
        refused = await client.ask(type="subscribe", channel="room:new", ref=1)
        assert (refused["type"], refused["code"], refused["ref"]) == ("error", "rate_limited", 1)
        assert "20 channels in which nothing was said" in refused["message"]
        assert not await store.call("EXISTS", names.topic_meta("demo", "room:new"))
        # What writes nothing, and what others hear anyway, it may have; others may have anything.
        await client.subscribe("room:other")
        await client.subscribe("presence:room:new")
        await other.subscribe("room:new")


async def has_left(store, gateway: Gateway, client: Client) -> bool:
    """Whether the node has seen that the last topics were left: it waits for those who come back at once."""
    answer = await client.ask(type="subscribe", channel="room:probe")
    if answer["type"] == "subscribed":
        await client.ask(type="unsubscribe", channel="room:probe")
    return answer["type"] == "error"


@pytest.mark.parametrize("timings", [leaving(5)])
async def test_of_what_a_projects_clients_left_the_oldest_is_forgotten(fast, store):
    """Wait until the open topic and the five that were left last are all that Redis has."""
    metas = [names.topic_meta("demo", f"room:{number}") for number in range(15)]
    async with fast.client() as client:
        await client.subscribe("room:0")
        for number in range(1, 15):
            await turn(client, f"room:{number}")

        async def a_few_are_left() -> bool:
            there = [bool(await store.call("EXISTS", meta)) for meta in metas]
            return there == [True] + [False] * 9 + [True] * 5

        await eventually(a_few_are_left)


@pytest.mark.parametrize("timings", [leaving(0)])
async def test_what_was_said_in_is_not_forgotten(fast, store):
    said, silent = (names.topic_meta("demo", f"room:{name}") for name in ("said", "silent"))
    async with fast.client() as client, fast.client() as speaker:
        for name in ("said", "silent"):
            await turn(client, f"room:{name}")
        await speaker.ask(type="broadcast", channel="room:said", payload=1, ref=1)

        async def only_the_silent_one() -> bool:
            return not await store.call("EXISTS", silent)

        await eventually(only_the_silent_one)
        assert await store.call("EXISTS", said)
