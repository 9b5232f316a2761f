"""What becomes of presence and of departures when Redis does not answer, or nothing happens for long.

Redis is a real one. Between a gateway and it, answers or whole calls are lost, some at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.presence.connection_store import ConnectionStore
from gateway.presence.presence_store import PresenceStore
from gateway.presence.timings import PresenceTimings
from gateway.timings import Timings
from realtime import names
from realtime.errors import Unavailable
from realtime.redis.client import Store
from tests.fleet_fixture import crowd, present
from tests.gateway_fixture import eventually, running_gateway, settings_for, token_for

LOBBY = "room:lobby"
TTL_SECONDS = 4.0
SLOW_RETRIES = Timings(presence=PresenceTimings(retry_seconds=60.0))  # the client is faster
FAST_RETRIES = Timings(presence=PresenceTimings(retry_seconds=0.02, linger_seconds=0.02))
EVERY_TOPIC_QUIET = Timings(presence=PresenceTimings(keep_seconds=0.0))


@dataclass
class Losses:
    """How many calls will be carried out without an answer, and how many after them not even that."""

    answers: int = 0
    calls: int = 0
    seen: int = 0  # calls in all

    def before(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def lossy(store: object, *arguments: Any) -> Any:
            self.seen += 1
            if self.answers:
                await method(store, *arguments)
                self.answers -= 1
                raise Unavailable("lost on the way back")
            if self.calls:
                self.calls -= 1
                raise Unavailable("lost on the way there")
            return await method(store, *arguments)

        return lossy


@pytest.fixture
def presence(monkeypatch) -> Losses:
    """Of changes of presence."""
    losses = Losses()
    monkeypatch.setattr(PresenceStore, "change", losses.before(PresenceStore.change))
    return losses


@pytest.fixture
def departures(monkeypatch) -> Losses:
    losses = Losses()
    monkeypatch.setattr(ConnectionStore, "disconnect", losses.before(ConnectionStore.disconnect))
    return losses


@pytest.fixture
async def settings(database_url, redis_url):
    return settings_for(database_url, redis_url, presence_ttl_seconds=TTL_SECONDS)


async def set_state(client, state, ref=1, **more) -> str:
    """Returns `ack`, or the code of the error."""
    answer = await client.ask(type="presence", state=state, ref=ref, **more)
    assert answer["ref"] == ref
    return answer.get("code", answer["type"])


async def states(gateway) -> list:
    return [entry["state"] for entry in await present(gateway)]


async def become(gateway, expected: list) -> None:
    async def are() -> bool:
        return await states(gateway) == expected

    await eventually(are)


async def test_whoever_was_told_unavailable_is_no_ghost(here, presence):
    async with here.client() as alice, here.client() as bob:
        watched, who = await crowd(bob), alice.connected["connection_id"]
        presence.answers = presence.calls = 1
        assert await set_state(alice, {}) == "unavailable"
        await watched.becomes(lambda: watched.told == [("join", who), ("leave", who)])
        assert await states(here) == []


@pytest.mark.parametrize("calls", [0, 1, 2])
async def test_whoever_was_told_unavailable_and_goes_is_no_ghost(here, presence, calls):
    async with here.client() as alice:
        presence.answers, presence.calls = 1, calls
        assert await set_state(alice, {}) == "unavailable"
    await eventually(lambda: presence.answers == presence.calls == 0)
    await become(here, [])


@pytest.mark.parametrize("state", [None, {"n": 2}])
async def test_whoever_was_told_unavailable_is_present_as_before(here, presence, state):
    async with here.client() as alice:
        assert await set_state(alice, {"n": 1}) == "ack"
        presence.answers = 1
        assert await set_state(alice, state) == "unavailable"
        await become(here, [{"n": 1}])
        assert await set_state(alice, None) == "ack"
        assert await states(here) == []


@pytest.mark.parametrize("timings", [SLOW_RETRIES], ids=[""])
async def test_whoever_is_told_of_leaving_has_left(here, presence):
    async with here.client() as alice:
        presence.answers = presence.calls = 1  # so that it is not put right at once
        assert await set_state(alice, {}) == "unavailable"
        await eventually(lambda: presence.calls == 0)
        assert await states(here) == [{}]
        assert await set_state(alice, None) == "ack"
        assert await states(here) == []


async def test_what_is_put_right_late_erases_nothing_newer(here, presence):
    async with here.client() as alice:
        presence.answers = presence.calls = 1
        assert await set_state(alice, {"n": 1}) == "unavailable"
        await eventually(lambda: presence.calls == 0)
        assert await set_state(alice, {"n": 2}) == "ack"
        assert await states(here) == [{"n": 2}]
        await eventually(lambda: presence.seen == 4)
        assert await set_state(alice, {"n": 3}, channel=LOBBY) == "ack"  # behind what was put right
        assert await states(here) == [{"n": 2}]


# A node that leaves


async def lives(store: Store) -> set[bytes]:
    return set(await store.call("SMEMBERS", names.nodes()))


async def test_a_node_leaves_when_redis_knows_how_its_last_connections_ended(
    settings, store, presence, departures
):
    async with running_gateway(settings) as gateway:
        await eventually(gateway.is_ready)
        async with gateway.client() as alice:
            assert await set_state(alice, {}) == "ack"
            presence.calls = departures.calls = 1
        await eventually(lambda: departures.calls == presence.calls == 0)
    assert await lives(store) == set()
    assert await store.call("HLEN", names.open_connections("demo")) == 0
    assert await store.call("HLEN", names.topic_members("demo", "presence")) == 0


async def test_survivors_clean_up_after_a_node_that_could_not_tell(
    here, settings, store, presence, departures
):
    async with running_gateway(settings) as leaving:
        await eventually(leaving.is_ready)
        async with leaving.client(token_for(sub="bob")) as bob:
            assert await set_state(bob, {"of": "bob"}) == "ack"
            presence.calls = departures.calls = 1_000
        await eventually(lambda: departures.calls < 1_000 > presence.calls)
    presence.calls = departures.calls = 0
    await eventually(lambda: are_clean(store))
    await become(here, [])


async def are_clean(store: Store) -> bool:
    left = await store.call("HLEN", names.open_connections("demo"))
    left += await store.call("HLEN", names.topic_members("demo", "presence"))
    return left == 0 and len(await lives(store)) == 1


# What a node notes of its people


@pytest.mark.parametrize("timings", [EVERY_TOPIC_QUIET], ids=[""])
async def test_a_quiet_topic_with_people_does_not_expire(here, store):
    async with here.client() as alice:
        assert await set_state(alice, {}) == "ack"
        of_topic = [f("demo", "presence") for f in (names.topic_members, names.topic_meta)]
        for key in of_topic:
            assert await store.call("PEXPIRE", key, 60_000)

        async def are_kept() -> bool:
            return min([await store.call("TTL", key) for key in of_topic]) > 3_600

        await eventually(are_kept)
        async with here.client() as bob:
            assert len((await crowd(bob)).ids) == 1


@pytest.mark.parametrize("timings", [FAST_RETRIES], ids=[""])
async def test_only_topics_with_people_are_noted_for_survivors(here, store):
    async with here.client() as alice, here.client() as bob:
        await asyncio.gather(*(set_state(one, {}, channel=LOBBY) for one in (alice, bob)))
        for number in range(20):
            assert await set_state(alice, {}, channel=f"room:{number}") == "ack"
            assert await set_state(alice, None, channel=f"room:{number}") == "ack"
        assert await set_state(alice, None, channel=LOBBY) == "ack"
        (life,) = await lives(store)
        topics = names.node_topics(life.decode())

        async def is_noted() -> bool:
            return set(await store.call("SMEMBERS", topics)) == {f"demo presence:{LOBBY}".encode()}

        await eventually(is_noted)
        for _ in range(5):
            await set_state(bob, None, channel=LOBBY)
            await set_state(bob, {}, channel=LOBBY)
            assert await is_noted()
        await set_state(bob, None, channel=LOBBY)

        async def is_forgotten() -> bool:
            return not await store.call("EXISTS", topics)

        await eventually(is_forgotten)


async def test_a_topic_is_noted_on_while_a_fail_over_may_bring_back_who_went_from_there(here, store):
    async with here.client() as alice:
        assert await set_state(alice, {}) == "ack"
        assert await set_state(alice, None) == "ack"
        for state in (dict[str, Any](), None):  # sent after whatever follows from that
            assert await set_state(alice, state, channel=LOBBY) == "ack"
        (life,) = await lives(store)
        noted = await store.call("SMEMBERS", names.node_topics(life.decode()))
        assert set(noted) == {b"demo presence", f"demo presence:{LOBBY}".encode()}


@pytest.mark.parametrize("timings", [FAST_RETRIES], ids=[""])
async def test_a_topic_that_could_not_be_forgotten_is_forgotten_later(here, store, monkeypatch):
    losses = Losses(calls=1)
    monkeypatch.setattr(PresenceStore, "forget_topics", losses.before(PresenceStore.forget_topics))
    async with here.client() as alice:
        assert await set_state(alice, {}) == "ack"
        assert await set_state(alice, None) == "ack"
        (life,) = await lives(store)
        await eventually(lambda: losses.seen == 2)

        async def is_forgotten() -> bool:
            return not await store.call("EXISTS", names.node_topics(life.decode()))

        await eventually(is_forgotten)
