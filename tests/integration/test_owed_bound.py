"""Redis is stopped or killed while many clients come and go: what a node owes is bounded, nobody is a ghost.

Redis is one of the test's own. Beyond the bound the node gives its life up, and the gone are `node_lost`.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.presence.timings import PresenceTimings
from gateway.timings import Timings
from realtime import names
from realtime.redis.client import Store, connect
from realtime.redis.timings import RedisTimings
from realtime.settings.config import Limits
from tests.acceptance.crowds import people
from tests.expressions import value
from tests.fleet_fixture import crowd, history, present
from tests.gateway_fixture import Client, Gateway, eventually, running_gateway, settings_for, token_for
from tests.ports import free_port
from tests.servers import throw_away_valkey

pytestmark = pytest.mark.standalone  # which is stopped

MOST = 20
LEAVING = 3 * MOST
ROOM = "room:big"
TTL_SECONDS = 4.0

Outage = Callable[[], Awaitable[None]]


class Valkey:
    """The Redis of a test, which goes away and comes back."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = free_port()
        self._running = AsyncExitStack()
        self.url = ""
        self._pid = 0

    async def start(self) -> None:
        server = await self._running.enter_async_context(throw_away_valkey(self._directory, port=self._port))
        self.url, self._pid = server.url, server.pid

    async def stop(self) -> None:
        await self._running.aclose()

    def freeze(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._pid, signal.SIGCONT)


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[Valkey]:
    valkey = Valkey(tmp_path / "valkey")
    await valkey.start()
    yield valkey
    valkey.thaw()
    await valkey.stop()


@pytest.fixture
async def node(valkey: Valkey, database_url: str) -> AsyncIterator[Gateway]:
    """A node that can owe little, and takes its time to say goodbye: the test decides when Redis is there."""
    limits = Limits(max_connections_per_user=1_000)
    settings = settings_for(database_url, valkey.url, limits=limits, presence_ttl_seconds=TTL_SECONDS)
    timings = Timings(
        redis=RedisTimings(call_seconds=0.5),
        presence=PresenceTimings(most_pending=MOST, patience_seconds=0.2),
    )
    async with running_gateway(settings, timings=timings) as gateway:
        await eventually(gateway.is_ready)
        yield gateway


@asynccontextmanager
async def frozen(valkey: Valkey) -> AsyncIterator[None]:
    valkey.freeze()
    try:
        yield
    finally:
        valkey.thaw()


@asynccontextmanager
async def killed(valkey: Valkey) -> AsyncIterator[None]:
    """What it had is lost, too."""
    await valkey.stop()
    try:
        yield
    finally:
        await valkey.start()


async def come_and_go(gateway: Gateway) -> None:
    async with gateway.client(token_for(sub="passer-by")):
        pass


def ids(clients: list[Client]) -> set[str]:
    return {client.connected["connection_id"] for client in clients}


@pytest.mark.parametrize("away", [frozen, killed])
async def test_a_node_that_would_owe_too_much_begins_another_life_and_leaves_no_ghost(
    valkey, node, away, caplog
):
    async with AsyncExitStack() as stack:
        staying = await stack.enter_async_context(people(node, 5, ROOM))
        watched = await crowd(staying[0], f"presence:{ROOM}")
        async with people(node, LEAVING, ROOM) as leaving, AsyncExitStack() as newcomers:
            gone = ids(leaving)
            await watched.becomes(lambda: watched.ids == gone | ids(staying))
            async with away(valkey):
                for client in leaving:
                    client.web_socket._writer.transport.abort()
                await eventually(lambda: "node_life_given_up" in caplog.text)
                assert owes_only_for(staying)
                await asyncio.gather(*(come_and_go(node) for _ in range(LEAVING)))
                new = await newcomers.enter_async_context(people(node, 5))
                assert owes_only_for(staying)
            await eventually(node.is_ready)
            async with connect(valkey.url) as store:
                expected = ids(staying) | ids(new)
                await eventually(lambda: open_ids(store, expected))
                await eventually(lambda: counted(store, len(expected)))
            await eventually(lambda: are_present(node, ids(staying)))
            await watched.becomes(lambda: watched.ids == ids(staying))
            if away is frozen:
                assert set(watched.times("leave").values()) <= {1}
                ends = await eventually(lambda: ends_of(node, gone))
                assert {(end["code"], end["reason"]) for end in ends} <= {(1006, None), (1006, "node_lost")}
                assert (1006, "node_lost") in {(end["code"], end["reason"]) for end in ends}
            await eventually(lambda: value("realtime_gateway_owed") == 0)


def owes_only_for(clients: list[Client]) -> bool:
    """Whether the node owes Redis no more than what is about these, however many have gone."""
    return value("realtime_gateway_owed") <= 2 * len(clients)


async def open_ids(store: Store, expected: set[str]) -> bool:
    found = await store.call("HKEYS", names.open_connections("demo"))
    return {field.decode().partition("/")[2] for field in found} == expected


async def counted(store: Store, expected: int) -> bool:
    """Whether all that is counted of users and of lives is as it should be."""
    totals = await store.call("HGETALL", names.connection_counts("demo"))
    lives = [life.decode() for life in await store.call("SMEMBERS", names.nodes())]
    of_lives = [await store.call("HGET", names.incarnation_counts("demo", life), "all") for life in lives]
    by_user = sum(int(number) for field, number in totals.items() if field.startswith(b"user:"))
    return by_user == sum(int(number or 0) for number in of_lives) == expected


async def are_present(gateway: Gateway, expected: set[str]) -> bool:
    return {entry["connection_id"] for entry in await present(gateway, ROOM)} == expected


async def ends_of(gateway: Gateway, expected: set[str]) -> list[dict[str, Any]]:
    """One end of each, as soon as all are there."""
    events = (await history(gateway, event="disconnect", limit=1_000))["connections"]
    ends = [event for event in events if event["connection_id"] in expected]
    assert len(ends) <= len(expected)
    return ends if len(ends) == len(expected) else []
