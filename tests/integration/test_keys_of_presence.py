"""The keys that clients can make in Redis by being present: for how long, how many. With a real Redis."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.presence.timings import PresenceTimings
from gateway.timings import Timings
from realtime import names
from realtime.settings.config import Limits
from tests.fleet_fixture import crowd, present
from tests.gateway_fixture import Client, eventually, running_gateway, settings_for, token_for
from tests.redis_keys import changed_since, keys_in

LOBBY = "presence:room:lobby"
SHORT_MEMORY = Timings(presence=PresenceTimings(emptied_seconds=1, linger_seconds=0.05))
FEW_LINGERING = Timings(presence=PresenceTimings(most_lingering=5))


@pytest.mark.parametrize("timings", [SHORT_MEMORY], ids=[""])
async def test_being_present_under_ever_new_names_leaves_nothing(fast, store):
    async with fast.client() as client:
        before = await keys_in(store)
        for number in range(100):
            for state in ({"n": number}, None):
                answer = await client.ask(type="presence", channel=f"room:{number}", state=state, ref=number)
                assert answer["type"] == "ack"

        async def nothing() -> bool:
            return not await changed_since(store, before)

        await eventually(nothing)
        (life,) = await store.call("SMEMBERS", names.nodes())

        async def is_noted_nowhere() -> bool:
            return not await store.call("EXISTS", names.node_topics(life.decode()))

        await eventually(is_noted_nowhere)


@pytest.mark.parametrize("timings", [FEW_LINGERING], ids=[""])
async def test_survivors_are_told_of_so_many_places_that_were_left(fast, store):
    """Wait until five topics at the most are noted for them."""
    async with fast.client() as client:
        for number in range(30):
            for state in (dict[str, Any](), None):
                await client.ask(type="presence", channel=f"room:{number}", state=state, ref=number)
        (life,) = await store.call("SMEMBERS", names.nodes())

        async def are_few() -> bool:
            return await store.call("SCARD", names.node_topics(life.decode())) <= 5

        await eventually(are_few)


@pytest.mark.parametrize("timings", [SHORT_MEMORY], ids=[""])
async def test_who_comes_after_all_have_left_is_told_as_a_join(gateway, store):
    async with gateway.client() as alice, gateway.client() as bob:
        watched, who = await crowd(bob, LOBBY), alice.connected["connection_id"]
        for _ in range(3):
            for state in (dict[str, Any](), None):
                await alice.ask(type="presence", channel="room:lobby", state=state, ref=1)

            async def is_forgotten() -> bool:
                return not await store.call("EXISTS", names.topic_meta("demo", LOBBY))

            await eventually(is_forgotten)
        await watched.becomes(lambda: len(watched.told) == 6)
        assert watched.told == [("join", who), ("leave", who)] * 3
        assert await present(gateway, "room:lobby") == []


async def test_a_project_has_so_much_presence_and_the_other_project_its_own(database_url, redis_url):
    limits = Limits(max_presence_bytes=30_000, max_channels_per_connection=30)
    other = token_for("other")
    async with running_gateway(settings_for(database_url, redis_url, limits=limits)) as gateway:
        await eventually(gateway.is_ready)
        async with gateway.client() as bob:
            async with gateway.client() as alice:
                taken = 0
                while (answer := await is_present(alice, f"room:{taken}", 4_000))["type"] == "ack":
                    taken += 1
                assert (answer["code"], answer["ref"]) == ("rate_limited", 1)
                assert "30000 bytes" in answer["message"]
                assert taken == 6
                assert (await is_present(bob, "room:a", 2_000))["code"] == "rate_limited"
                assert (await is_present(alice, "room:0", 3_990))["type"] == "ack", "smaller than before"
                async with gateway.client(other, project="other") as stranger:
                    assert (await is_present(stranger, "room:a", 4_000))["type"] == "ack"
                assert len(await present(gateway, "room:0")) == 1
            await eventually(lambda: gets_in(bob))
            assert len(await present(gateway, "room:a")) == 1


async def is_present(client: Client, channel: str, size: int) -> dict[str, Any]:
    return await client.ask(type="presence", channel=channel, state={"x": "x" * (size - 10)}, ref=1)


async def gets_in(client: Client) -> bool:
    return (await is_present(client, "room:a", 2_000))["type"] == "ack"
