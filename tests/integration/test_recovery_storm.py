"""A node died: all of its clients come to this one within moments, each with its own `since`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest

from realtime.channels import Event, Table, parse_channel
from realtime.redis.client import Store
from tests.change_stream import Publisher
from tests.gateway_fixture import Client, Gateway

CLIENTS = 300
USERS, ORDERS = Table("public", "users"), Table("public", "orders")
SPELLINGS = ["table:{}", "table:public.{}", 'table:"{}"', "table:{}:INSERT", "table:public.{}:DELETE"]
READINGS = 4  # of one topic: the first to come, the oldest, and one who is older still


class Feed:
    """Changes of two tables, and what somebody who was there all the time heard of each: id and event."""

    def __init__(self, publisher: Publisher, witness: Client) -> None:
        self.heard: dict[str, list[tuple[str, str]]] = {"users": [], "orders": []}
        self._publisher = publisher
        self._witness = witness

    async def publish(self, rounds: int) -> None:
        for number in range(rounds):
            for table in (USERS, ORDERS):
                await self._publisher.publish(1 + number % 4, list(Event)[number % 3], table)

    async def hear(self) -> None:
        """Note what was published until now."""
        while sum(map(len, self.heard.values())) < self._publisher.published:
            change = await self._witness.hear()
            self.heard[change["table"]].append((change["id"], change["event"]))

    def after(self, channel: str, since: str) -> list[str]:
        """The ids that a channel has beyond one."""
        parsed = parse_channel(channel)
        assert parsed.table is not None
        heard = self.heard[parsed.table.name]
        start = [id_ for id_, _ in heard].index(since) + 1
        return [id_ for id_, event in heard[start:] if parsed.event in (None, event)]


@pytest.fixture
async def feed(gateway: Gateway, publisher: Publisher) -> AsyncIterator[Feed]:
    async with gateway.client() as witness:
        await witness.subscribe("table:users")
        await witness.subscribe("table:orders")
        feed = Feed(publisher, witness)
        await feed.publish(12)
        await feed.hear()
        yield feed


def wishes(feed: Feed) -> list[tuple[str, str]]:
    """A channel and a `since` a client: half of them have seen the same two, the others this and that."""
    found = []
    for number in range(CLIENTS):
        table = ("users", "orders")[number % 2]
        heard = [id_ for id_, _ in feed.heard[table]]
        seen = heard[(5, 9)[number // 2 % 2]] if number % 4 < 2 else heard[number % (len(heard) - 1)]
        found.append((SPELLINGS[number % len(SPELLINGS)].format(table), seen))
    return found


@asynccontextmanager
async def crowd(gateway: Gateway) -> AsyncIterator[list[Client]]:
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
        AsyncExitStack() as stack,
    ):
        crowded = replace(gateway, http=http)
        yield [await stack.enter_async_context(crowded.client()) for _ in range(CLIENTS)]


async def recover_all(clients: list[Client], wished: list[tuple[str, str]]) -> None:
    await asyncio.gather(*map(recover, clients, *zip(*wished, strict=True)))


async def recover(client: Client, channel: str, since: str) -> None:
    answer = await client.subscribe(channel, since=since)
    assert (answer["recovered"], answer["position"]) == (True, since)


async def xranges(store: Store) -> int:
    found = (await store.everywhere("INFO", "commandstats")).values()
    return sum(stats.get("cmdstat_xrange", {"calls": 0})["calls"] for stats in found)


async def test_all_get_exactly_what_they_missed_by_few_readings_of_history(gateway, publisher, feed, store):
    async with crowd(gateway) as clients:
        read_before, wished = await xranges(store), wishes(feed)
        async with asyncio.TaskGroup() as tasks:
            storm = tasks.create_task(recover_all(clients, wished), name="storm")
            while not storm.done():
                await feed.publish(1)
        await feed.publish(3)
        await feed.hear()
        for client, (channel, since) in zip(clients, wished, strict=True):
            expected = feed.after(channel, since)
            assert [(await client.hear())["id"] for _ in expected] == expected
            assert (await client.ask(type="ping"))["type"] == "pong"
        assert await xranges(store) - read_before <= 2 * READINGS
