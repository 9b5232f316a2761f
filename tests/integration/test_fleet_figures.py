"""`GET /stats`: what nodes count for a project, what its notifier does, and what is wrong."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import msgspec
import pytest

from gateway import app
from gateway.delivery.timings import DeliveryTimings
from gateway.timings import Timings
from realtime import names
from realtime.settings.config import Limits
from tests.fleet_fixture import SERVICE
from tests.gateway_fixture import (
    Gateway,
    eventually,
    running_gateway,
    running_notifier,
    settings_for,
    token_for,
)
from tests.integration.test_fleet import asked
from tests.raw_socket import TEXT, frame, raw_socket
from tests.servers import throw_away_valkey

QUICK = DeliveryTimings(
    probe_seconds=0.2, dead_after_seconds=1, first_retry_seconds=0.02, last_retry_seconds=0.1
)

FIELDS = {
    *("id", "version", "started_at", "draining", "connections", "subscriptions", "channels", "messages_in"),
    *("messages_out", "bytes_out", "queue_bytes", "slow_consumers", "errors"),
}


def codes(stats: dict[str, Any]) -> list[str]:
    return [problem["code"] for problem in stats["problems"]]


async def test_each_node_tells_what_it_did_for_the_project(here, there):
    async with here.client() as alice:
        await alice.subscribe("room:a")
        await alice.ask(type="subscribe", channel="no channel")
        async with there.client(token_for(sub="bob")) as bob:
            await bob.subscribe("room:a")
            await bob.say(type="broadcast", channel="room:a", payload=1)
            assert (await alice.hear())["payload"] == (await bob.hear())["payload"] == 1

        async def bob_is_gone() -> dict[str, Any]:
            stats = await asked(there, "/stats")
            return stats if sum(one["connections"] for one in stats["nodes"]) == 1 else {}

        stats = await eventually(bob_is_gone)
        assert all(one.keys() == FIELDS for one in stats["nodes"])
        busy, left = sorted(stats["nodes"], key=lambda one: -one["connections"])
        assert (busy["subscriptions"], busy["channels"], busy["errors"]) == (1, 1, 1)
        assert (busy["messages_in"], busy["messages_out"]) == (2, 4)
        # What somebody did who is gone still counts.
        assert (left["subscriptions"], left["channels"], left["errors"]) == (0, 0, 0)
        assert (left["messages_in"], left["messages_out"]) == (2, 3)
        for one in stats["nodes"]:
            assert one["bytes_out"] > 300
            assert (one["draining"], one["queue_bytes"], one["slow_consumers"]) == (False, 0, 0)
        assert (stats["missing"], codes(stats)) == ([], ["notifier_down"])


async def test_the_notifier_tells_who_it_is_and_how_much_it_published(settings, gateway, sql):
    demo_alone = msgspec.structs.replace(settings, projects={"demo": settings.projects["demo"]})
    async with running_notifier(demo_alone):
        await gateway.enable("orders")
        await sql.execute("insert into orders select n, '' from generate_series(1, 7) n")

        async def has_published() -> Any:
            stats = await asked(gateway, "/stats")
            return stats["notifier"]["changes"] == 7 and stats

        stats = await eventually(has_published)
        notifier = stats["notifier"]
        assert (notifier["status"], notifier["pending"], notifier["lag_seconds"]) == ("live", 0, 0)
        assert notifier["node"]
        assert stats["problems"] == []


async def test_a_lease_that_no_notifier_wrote_is_no_fault(gateway, store):
    for lease in (b"[]", b"garbage", b'{"holder":1,"changes":"many"}', b'{"changes":true}'):
        await store.call("SET", names.notifier("demo"), lease)

        async def is_read(lease: bytes = lease) -> bool:
            notifier = (await asked(gateway, "/stats"))["notifier"]
            assert (notifier["node"], notifier["changes"]) == (None, None)
            return notifier["status"] == ("live" if lease.startswith(b"{") else "down")

        await eventually(is_read)


async def problem(gateway: Gateway, code: str) -> dict[str, Any]:
    """Wait until a gateway reports this problem; return it."""

    async def reported() -> list[dict[str, Any]]:
        return [one for one in (await asked(gateway, "/stats"))["problems"] if one["code"] == code]

    (one,) = await eventually(reported)
    assert one.keys() == {"code", "severity", "message", "action", "docs"}
    found: dict[str, Any] = one
    return found


@pytest.mark.standalone
async def test_without_redis_a_node_tells_of_itself_alone_and_acts_for_nobody(tmp_path, database_url, sql):
    timings = Timings(delivery=QUICK)
    async with AsyncExitStack() as stack:
        redis = AsyncExitStack()
        server = await redis.enter_async_context(throw_away_valkey(tmp_path / "valkey"))
        settings = settings_for(database_url, server.url)
        here = await stack.enter_async_context(running_gateway(settings, timings=timings))
        there = await stack.enter_async_context(running_gateway(settings, timings=timings))
        for one in (here, there):
            await eventually(one.is_ready)
        alice = await stack.enter_async_context(here.client())
        await redis.aclose()
        await problem(here, "redis_unavailable")
        stats = await asked(here, "/stats")
        assert [one["connections"] for one in stats["nodes"]] == [1]
        assert codes(stats) == ["redis_unavailable"]
        for path in ("/clients", "/channels"):
            status, answer, _ = await here.rest("GET", path, SERVICE)
            assert (status, answer["error"]["code"]) == (503, "unavailable")
        status, answer, _ = await here.rest("POST", "/disconnect", SERVICE, json={"user_id": "alice"})
        assert (status, answer["error"]["code"]) == (503, "unavailable")
        assert (await alice.ask(type="ping"))["type"] == "pong"


async def test_a_database_that_is_away_is_told_and_the_nodes_are_told_all_the_same(redis_url):
    settings = settings_for("postgresql://127.0.0.1:1/nowhere", redis_url)
    async with running_gateway(settings) as gateway:
        await problem(gateway, "database_unavailable")
        stats = await asked(gateway, "/stats")
        assert (len(stats["nodes"]), stats["notifier"]["pending"], stats["notifier"]["lag_seconds"]) == (
            1,
            None,
            None,
        )


async def test_a_node_that_drains_is_named(database_url, redis_url):
    settings = settings_for(database_url, redis_url, drain_seconds=3_000)
    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    serve = app.run(settings, "127.0.0.1", 0, on_listening=listening.set_result)
    leaving = asyncio.create_task(serve, name="a node that drains")
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(running_gateway(settings))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        there = Gateway(settings, await listening, http)
        for one in (here, there):
            await eventually(one.is_ready)
        for _ in range(2):  # of two the second one stays for long
            await stack.enter_async_context(there.client())
        leaving.cancel()
        one_problem = await problem(here, "node_draining")
        stats = await asked(here, "/stats")
        (name,) = [node["id"] for node in stats["nodes"] if node["draining"]]
        assert name in one_problem["message"]
        assert stats["missing"] == []
        leaving.cancel()
        await asyncio.wait([leaving])


async def test_slow_consumers_of_late_are_told(database_url, redis_url):
    limits = Limits(max_queue_bytes=64 * 1024, slow_consumer_seconds=1, messages_per_second=10_000)
    settings = settings_for(database_url, redis_url, limits=limits)
    async with (
        running_gateway(settings, timings=Timings(tick_seconds=0.02)) as gateway,
        gateway.client() as loud,
        raw_socket(gateway, receive_bytes=4_096) as lazy,
    ):
        lazy.send(frame(TEXT, json.dumps({"type": "subscribe", "channel": "room:a"}).encode()))
        assert b'"subscribed"' in await lazy.text()
        for number in range(200):
            payload = "x" * 50_000
            answer = await loud.ask(type="broadcast", channel="room:a", payload=payload, ref=number)
            assert answer["type"] == "ack"
        await problem(gateway, "slow_consumers")
        stats = await asked(gateway, "/stats")
        assert [one["slow_consumers"] for one in stats["nodes"]] == [1]


async def test_a_partition_that_is_not_watched_is_named(gateway, sql):
    await sql.execute("create table measures (day date, value int) partition by range (day)")
    await gateway.enable("measures")
    await sql.execute("create table measures_later partition of measures default")
    assert "public.measures_later" in (await problem(gateway, "partition_unguarded"))["message"]


async def publications(store: Any) -> int:
    """How many messages all servers were asked to pass on."""
    found = (await store.everywhere("INFO", "commandstats")).values()
    return sum(one.get("cmdstat_spublish", {"calls": 0})["calls"] for one in found)


async def test_many_who_ask_at_once_cost_one_question(here, there, store):
    before = await publications(store)
    answers = await asyncio.gather(*(asked(here, "/stats") for _ in range(100)))
    assert all(len(one["nodes"]) == 2 for one in answers)
    assert await publications(store) - before < 50  # among them the probes of both nodes
