"""`GET /stats`: what nodes count for a project, what its notifier does, and what is wrong."""

from __future__ import annotations

from typing import Any

import msgspec

from realtime import names
from tests.gateway_fixture import eventually, running_notifier, token_for
from tests.integration.test_fleet import asked

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
