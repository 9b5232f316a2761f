"""What somebody with Redis has written there is the trouble of one channel, one life or one lease."""

from __future__ import annotations

from typing import Any

import pytest

from realtime import names
from realtime.redis.client import Command, Store
from realtime.settings.config import Settings
from tests.clean_log import logged
from tests.gateway_fixture import Client, eventually, running_gateway, settings_for, token_for
from tests.notifier_fixture import insert, notifier, project_at, settings_at, witness

SERVICE = token_for(role="service_role")


@pytest.fixture
def settings(database_url: str, redis_url: str) -> Settings:
    return settings_for(database_url, redis_url, presence_ttl_seconds=1)


TOPICS = {
    "room:bad": "room:bad",
    "presence:room:bad": "presence:room:bad",
    "table:orders:INSERT": "table:public.orders",
}
# What is published on a channel instead of a publication, with its epoch and its next offset.
PUBLISHED = [
    ("room:bad", b"\xff\xfe"),
    ("room:bad", b""),
    ("room:bad", b"%(epoch)b x\nB"),
    ("room:bad", b"%(epoch)b %(next)b\nN"),
    ("room:bad", b"%(epoch)b %(next)b\nN\xff\xff {}"),
    ("table:orders:INSERT", b"%(epoch)b %(next)b\n?"),
    ("table:orders:INSERT", b"%(epoch)b %(next)b\n"),
    ("presence:room:bad", b"\xff"),
]


@pytest.mark.parametrize(("channel", "published"), PUBLISHED)
async def test_what_cannot_be_read_makes_one_channel_resync_and_no_other(
    settings: Settings, store: Store, channel: str, published: bytes
) -> None:
    name = names.topic_channel("demo", TOPICS[channel])
    async with running_gateway(settings, expected_errors=1) as gateway:
        await eventually(gateway.is_ready)
        async with gateway.client() as bad, gateway.client() as good:
            await good.subscribe("room:good")
            epoch, _, offset = (await bad.subscribe(channel))["position"].partition("-")
            if channel.startswith("presence"):
                assert (await bad.hear())["event"] == "sync"
            facts = {b"epoch": epoch.encode(), b"next": str(int(offset) + 1).encode()}
            await store.send(
                [Command(name, ("SPUBLISH", name, published % facts if b"%" in published else published))]
            )
            heard = await bad.hear()
            assert (heard["channel"], heard.get("event", heard["type"])) == (
                channel,
                "sync" if channel.startswith("presence") else "resync",
            )
            await say(good, "room:good")
            if channel.startswith("room"):
                await say(bad, channel)


async def say(client: Client, channel: str) -> None:
    await client.say(type="broadcast", channel=channel, payload="heard")
    assert (await client.hear())["payload"] == "heard"


@pytest.mark.parametrize("entry", [{"p": b"\xff"}, {"p": b""}, {"q": b"1"}, {"p": b"EPOCH 1\nN"}])
async def test_a_history_that_cannot_be_read_does_not_reach(
    settings: Settings, store: Store, entry: dict[str, bytes]
) -> None:
    async with running_gateway(settings) as earlier:
        await eventually(earlier.is_ready)
        async with earlier.client() as client:
            position = (await client.subscribe("room:bad"))["position"]
    ((field, value),) = entry.items()
    value = value.replace(b"EPOCH", position.partition("-")[0].encode())
    await store.call("XADD", names.topic_history("demo", "room:bad"), "1-0", field, value)
    await store.call("HSET", names.topic_meta("demo", "room:bad"), "offset", 1)
    async with running_gateway(settings, expected_errors=1) as gateway:
        await eventually(gateway.is_ready)
        async with gateway.client() as bob:
            for _ in range(2):
                if (await bob.subscribe("room:bad", since=position))["recovered"]:
                    assert (await bob.hear())["type"] == "resync"
            await say(bob, "room:bad")


async def test_lives_entries_and_reports_that_no_node_wrote_hide_no_other(
    settings: Settings, store: Store
) -> None:
    await store.call("SADD", names.nodes(), b"\xff", "dead-1", "strange-1", "older-1")
    await store.call("SET", names.node("strange-1"), b"\xff")
    await store.call("SET", names.node("older-1"), b'{"version": 1}')
    await store.call("SADD", names.node_topics("dead-1"), b"\xff", "demo presence:room:a", "nonsense")
    members = names.topic_members("demo", "presence:room:a")
    await store.call("HSET", members, "dead-1/c", b"{}", b"\xff", b"\xff", "x", "y")
    opened = names.open_connections("demo")
    await store.call("HSET", opened, "dead-1/c", b"\xff", "dead-1/d", b"{}", b"dead-1/\xff", b"[]")
    history = names.connection_history("demo")
    for event in (
        b"\xff",
        b"[]",
        b"{}",
        b'{"event":"connect","at":1e300}',
        b'{"event":"connect","at":"now"}',
    ):
        await store.call("XADD", history, "*", "e", event)
    await store.call("XADD", history, "*", "f", b"{}")
    async with running_gateway(settings) as gateway:
        await eventually(gateway.is_ready)

        async def dead_is_buried() -> bool:
            return not await store.call("SISMEMBER", names.nodes(), "dead-1")

        await eventually(dead_is_buried)
        async with gateway.client(token_for(sub="bob")) as bob:
            await bob.ask(type="presence", channel="room:a", state={"here": True}, ref=1)
            status, present, _ = await gateway.rest("GET", "/presence?channel=room:a", SERVICE)
            assert (status, [one["user_id"] for one in present["presences"]]) == (200, ["bob"])
            status, events, _ = await gateway.rest("GET", "/connections?event=connect", SERVICE)
            assert (status, [one["user_id"] for one in events["connections"]]) == (200, ["bob"])
            status, answer, _ = await gateway.rest("GET", "/status", SERVICE)
            assert (status, [one["connections"] for one in answer["nodes"]]) == (200, [1])
            assert (await bob.subscribe("presence:room:a"))["type"] == "subscribed"
            assert [one["user_id"] for one in (await bob.hear())["presences"]] == ["bob"]
        lives = [field for field in await store.call("HKEYS", opened) if field.startswith(b"dead-1/")]
        assert lives in ([], [b"dead-1/\xff"])


FACTS: list[Any] = [b"\xff", b"[" * 100_000, b'{"serves":5}', b'{"serves":["demo"],"unable":[null]}', b""]


async def test_facts_and_leases_that_no_notifier_wrote_stop_no_notifier(
    orders_url: str,
    other_url: str,
    redis_url: str,
    store: Store,
    writer: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = settings_at(redis_url, demo=project_at(orders_url), other=project_at(other_url))
    await store.call("LPUSH", names.notifier("demo"), "a lease of another type")
    await store.call("SET", names.notifier("other"), b"\xff no JSON")
    async with notifier(settings), witness(settings) as seen:
        for number, facts in enumerate(FACTS):
            await store.call("ZADD", names.notifiers(), 4_000_000_000_000, f"stranger-{number}")
            await store.call("HSET", names.notifier_facts(), f"stranger-{number}", facts)
        await store.call("HSET", names.notifier_facts(), b"\xff", b"\xff")
        await insert(writer, 1)
        await seen.sees(1)

        async def other_has_its_lease() -> bool:
            return b'"holder"' in (await store.call("GET", names.notifier("other")) or b"")

        await eventually(other_has_its_lease)
    assert logged(caplog, "part_failed") == []
