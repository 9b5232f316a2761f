"""REST over two gateway processes with a thousand clients: all pages, what they cost, nodes that are silent.

REALTIME_CROWD=3000 makes the crowd of docs/protocol.md. A run prints the bytes that go through Redis, and the
times.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from realtime.redis.client import Store
from realtime.waiting.batches import batches
from tests.acceptance.conftest import Stage
from tests.acceptance.crowds import Node, frozen, node
from tests.acceptance.light_clients import LightClient, files_for
from tests.change_stream import background
from tests.fleet_fixture import SERVICE
from tests.gateway_fixture import eventually, token_for
from tests.integration.test_fleet import asked, order

CLIENTS = int(os.environ.get("REALTIME_CROWD", "1000"))
ROOMS = 300
COME_AND_GO = 60  # others, while pages are read
AT_ONCE = 50
IDLE_SECONDS = 1.5
BOUND_SECONDS = 120.0
LIMITS = (
    "[projects.demo.limits]",
    f"max_connections = {2 * CLIENTS}",
    *(f"requests_per_second_per_{one} = 0" for one in ("ip", "token")),
)

pytestmark = pytest.mark.skipif(bool(files_for(CLIENTS + 500)), reason=str(files_for(CLIENTS + 500)))


@asynccontextmanager
async def light(port: int, count: int, sub: str) -> AsyncIterator[None]:
    """So many clients of one node, each subscribed to one channel; none comes back when it is closed."""
    token = token_for(sub=sub)
    clients = [LightClient([port], token, f"room:{number % ROOMS}") for number in range(count)]
    tasks: list[asyncio.Task[None]] = []
    try:
        for some in batches(clients, AT_ONCE):
            tasks += [asyncio.create_task(one.follow(), name="a light client") for one in some]
            await eventually(lambda some=some: all(one.subscribed for one in some), BOUND_SECONDS)
        await stopped(tasks)
        yield
    finally:
        await stopped(tasks)
        for client in clients:
            if client.transport is not None:
                client.transport.abort()


async def stopped(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


async def pages(gateway: Node, path: str, key: str, **params: Any) -> list[Any]:
    """All pages of a list together."""
    found: list[Any] = []
    more: dict[str, Any] = {}
    while True:
        page = await asked(gateway, path, **params, **more)
        assert page["missing"] == []
        assert page[key] or page["next"] is None
        found += page[key]
        if page["next"] is None:
            return found
        more = {"after": page["next"]}


async def through_redis(store: Store) -> int:
    """Bytes that all servers have got and sent."""
    stats = (await store.everywhere("INFO", "stats")).values()
    return sum(one["total_net_input_bytes"] + one["total_net_output_bytes"] for one in stats)


async def coming_and_going(here: Node, there: Node) -> None:
    """Others who connect and leave all the time, on both nodes."""
    for one in itertools.cycle((here, there)):
        async with one.client(token_for(sub="guest")) as first, one.client(token_for(sub="guest")):
            await first.subscribe("room:guests")


@pytest.mark.timeout(600)
async def test_pages_have_all_of_thousands_once_and_a_node_that_is_silent_delays_nobody(
    stage: Stage, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.write(project=LIMITS)
    async with (
        node(stage) as here,
        node(stage) as there,
        light(here.port, CLIENTS // 2, "alice"),
        light(there.port, CLIENTS // 2, "bob"),
    ):
        async with background(asyncio.create_task(coming_and_going(here, there))):
            await check_clients(here)
            await check_channels(there)
        for path, key in (("/stats", "nodes"), ("/clients", "clients"), ("/channels", "channels")):
            with capsys.disabled():
                sys.stdout.write(await cost(here, store, path, key))
        await check_silence(here, there)
        with capsys.disabled():
            sys.stdout.write(await check_disconnect(here, there))


async def check_clients(gateway: Node) -> None:
    """Whoever stays is on exactly one page, while others come and go."""
    for limit in (1_000, 70):
        found = await pages(gateway, "/clients", "clients", limit=limit)
        assert [order(one) for one in found] == sorted({order(one) for one in found})
        staying = [one for one in found if one["user_id"] != "guest"]
        assert len(staying) == CLIENTS
        assert len(found) - CLIENTS <= COME_AND_GO
    assert len(await pages(gateway, "/clients", "clients", limit=300, user_id="bob")) == CLIENTS // 2


async def check_channels(gateway: Node) -> None:
    found = await pages(gateway, "/channels", "channels", limit=70)
    names = [one["channel"] for one in found if one["channel"] != "room:guests"]
    assert names == sorted(f"room:{number}" for number in range(ROOMS))
    subscribers = sum(one["subscribers"] for one in found if one["channel"] != "room:guests")
    assert subscribers == CLIENTS


async def cost(gateway: Node, store: Store, path: str, key: str) -> str:
    """Ask for all of a list; tell the bytes and the time. What nodes say anyway meanwhile is taken off."""
    await asyncio.sleep(IDLE_SECONDS)  # what is remembered of a former question is too old then
    began, before = time.monotonic(), await through_redis(store)
    await asyncio.sleep(IDLE_SECONDS)
    idle_rate = (await through_redis(store) - before) / (time.monotonic() - began)
    began, before = time.monotonic(), await through_redis(store)
    limit = {} if path == "/stats" else {"limit": 1_000}
    entries = len(
        (await asked(gateway, path))[key] if not limit else await pages(gateway, path, key, **limit)
    )
    seconds = time.monotonic() - began
    moved = await through_redis(store) - before - idle_rate * seconds
    return (
        f"\n{path}: {entries} entries of {CLIENTS} clients in {1000 * seconds:.0f} ms, {moved / 1000:.0f} KB"
    )


async def check_silence(here: Node, there: Node) -> None:
    """A node that is frozen in the middle is named, and the others are told all the same."""
    with frozen(there):
        for path in ("/stats", "/clients?user_id=bob", "/channels"):
            async with asyncio.timeout(30):  # far more than what is waited for
                answer = await asked(here, path)
            assert len(answer["missing"]) == 1, path
        stats = await asked(here, "/stats")
        assert sum(one["connections"] for one in stats["nodes"]) == CLIENTS // 2
        assert {"node_silent"} <= {one["code"] for one in stats["problems"]}

    async def is_back() -> bool:
        return (await asked(here, "/stats"))["missing"] == []

    await eventually(is_back, BOUND_SECONDS)


async def check_disconnect(here: Node, there: Node) -> str:
    """One request ends all connections of a user; then a node is killed, and the rest is told at once."""
    began = time.monotonic()
    status, answer, _ = await here.rest("POST", "/disconnect", SERVICE, json={"user_id": "bob"})
    counted = time.monotonic() - began
    assert (status, answer) == (202, {"disconnected": CLIENTS // 2, "missing": []})
    there.send(signal.SIGKILL)

    async def is_missing() -> bool:
        return len((await asked(here, "/clients", user_id="bob"))["missing"]) == 1

    await eventually(is_missing)
    assert len((await asked(here, "/clients", limit=1_000))["clients"]) == min(1_000, CLIENTS // 2)
    return f"\n/disconnect: {CLIENTS // 2} clients counted in {1000 * counted:.0f} ms\n"
