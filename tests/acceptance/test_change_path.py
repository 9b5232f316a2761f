"""The change path under load, with real processes: one notifier, two gateways, ten subscribers."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest

from gateway.broker import Broker
from realtime.channels import Table
from realtime.redis.client import connect
from realtime.settings.config import Settings
from tests.acceptance.conftest import Stage
from tests.acceptance.programs import client_of, memory_mib, psql, running
from tests.acceptance.served import LOCAL, Served, served
from tests.gateway_fixture import Client, eventually, token_for

ROWS = 100_000
SUBSCRIBERS = 10
MOST_BURSTS = 5  # to find a notifier in the middle of one
QUIET_SECONDS = 60.0  # without a message, while more should come
# Twenty-five megabytes of frames wait for all subscribers of a node together, since they share them.
GATEWAY_MIB = 200
MESSAGES = Table("public", "messages")

# Ten readers in one process are slow on a busy machine, and that is not what is tried here.
PATIENT = ("[projects.demo.limits]", "slow_consumer_seconds = 60")

_ID = re.compile(r'"data":\{"id": ?(\d+),')


@asynccontextmanager
async def subscribers(parts: Served) -> AsyncIterator[list[Client]]:
    """Clients that are subscribed to table `messages`, spread over the gateways."""
    async with AsyncExitStack() as stack:
        clients = []
        for number in range(SUBSCRIBERS):
            url = parts.urls[number % len(parts.urls)]
            clients.append(await stack.enter_async_context(client_of(url, token_for())))
            await clients[-1].subscribe("table:messages")
        yield clients


async def hear_ids(client: Client, count: int) -> list[int]:
    """The ids of the rows in the next messages, each of which is a change."""
    ids: list[int] = []
    for _ in range(count):
        frame = await client.web_socket.receive(QUIET_SECONDS)
        assert frame.type is aiohttp.WSMsgType.TEXT, f"{frame} after {len(ids)} rows"
        found = _ID.search(frame.data)
        assert found, frame.data
        ids.append(int(found[1]))
    return ids


async def insert(stage: Stage, count: int) -> None:
    statement = f"insert into messages (body) select 'message ' || i from generate_series(1, {count}) i"
    await psql(stage.database_url, statement)


async def expect_all(stage: Stage, clients: list[Client], rows: int) -> None:
    """Each hears every row, in order and once: the one that is inserted at last comes right after them."""
    hearing = asyncio.gather(*(hear_ids(client, rows) for client in clients))
    for ids in await hearing:
        assert ids == list(range(1, rows + 1))
    await insert(stage, 1)
    assert await asyncio.gather(*(hear_ids(client, 1) for client in clients)) == [[rows + 1]] * len(clients)


async def test_one_big_statement_reaches_ten_subscribers_within_bounded_memory(
    messages: Stage, pytestconfig: pytest.Config
) -> None:
    messages.write("heartbeat_seconds = 60", project=PATIENT)
    async with served(messages, nodes=2) as parts, subscribers(parts) as clients:
        before = [memory_mib(gateway.pid) for gateway in parts.gateways]
        await insert(messages, ROWS)
        await expect_all(messages, clients, ROWS)
        peak = [memory_mib(gateway.pid) for gateway in parts.gateways]
        after = [memory_mib(gateway.pid, "VmRSS") for gateway in parts.gateways]
        notifier = memory_mib(parts.notifier.pid)
    show = pytestconfig.get_terminal_writer()
    for figures in zip(before, peak, after, strict=True):
        show.write("\ngateway: {:.0f} MiB before the burst, {:.0f} at most, {:.0f} after".format(*figures))
    show.line(f"\nnotifier: {notifier:.0f} MiB at most")
    assert max(peak) < GATEWAY_MIB


async def test_a_notifier_killed_in_a_burst_loses_and_repeats_nothing(messages: Stage) -> None:
    messages.write("heartbeat_seconds = 60", project=PATIENT)
    async with (
        served(messages, nodes=2) as parts,
        subscribers(parts) as clients,
        connect(messages.redis_url) as store,
    ):
        broker = Broker(store, Settings())

        async def published() -> int:
            return (await broker.position("demo", MESSAGES.topic)).offset

        async def has_passed(offset: int) -> bool:
            return await published() > offset

        rows = 0
        for _ in range(MOST_BURSTS):
            before, rows = rows, rows + ROWS
            burst = asyncio.create_task(insert(messages, ROWS), name="burst")
            await eventually(lambda before=before: has_passed(before))
            parts.notifier.send(signal.SIGSTOP)
            if await published() < rows:
                break
            parts.notifier.send(signal.SIGCONT)  # it was faster than we looked
            await burst
        assert await parts.notifier.stop(signal.SIGKILL) == -signal.SIGKILL
        assert rows - ROWS < await published() < rows
        words = ("notifier", *LOCAL, "--config", messages.config)
        async with running(*words, directory=messages.directory):
            await burst
            await expect_all(messages, clients, rows)
