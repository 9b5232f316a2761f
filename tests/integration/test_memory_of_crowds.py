"""Clients that read nothing, two hundred of them, and a gateway process that stays within its budget."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from gateway.broker import Broker, Post
from realtime.channels import Table, parse_channel
from realtime.publications import Sender, broadcast_line
from realtime.redis.client import connect
from realtime.redis.history import History
from realtime.settings.config import Settings
from tests import topics
from tests.acceptance.programs import Program, memory_mib, running
from tests.acceptance.served import is_ready
from tests.change_stream import ORDERS, Publisher, background
from tests.gateway_fixture import SECRET, Gateway, eventually, settings_for
from tests.ports import free_port
from tests.raw_socket import TEXT, RawSocket, frame, raw_socket

MIB = 1024 * 1024
BUDGET_MIB = 64
# What the process takes beside its budget: 200 connections, pages that are being read, the allocator's share.
MORE_MIB = 64
KEPT_MIB = 32  # that may be left when all are gone

HISTORY_ROWS, ROW_BYTES, BATCH = 10_000, 5_600, 180  # 56 MB, in publications of 1 MB
LIVE_ROWS = 900  # 5 MB more, which history keeps beside the others
OTHER_ROWS = 5_400  # 30 MB of another table, live, while nobody of its subscribers reads
CHANNELS, POSTS, POST_BYTES = 5, 100, 60_000  # 6 MB of history each
OF_A_KIND = 50
SECONDS = 240

USERS = Table("public", "users")
ID = re.compile(rb'"data":\{"id": ?(\d+)')


@dataclass
class Stage:
    gateway: Gateway
    internal_port: int
    program: Program
    publisher: Publisher

    def rss_mib(self) -> float:
        return memory_mib(self.program.pid, "VmRSS")

    def most_mib(self) -> float:
        return memory_mib(self.program.pid)

    async def figure(self, name: str) -> float:
        url = f"http://127.0.0.1:{self.internal_port}/metrics"
        async with self.gateway.http.get(url) as answer:
            found = re.search(rf"^{name} (\S+)$", await answer.text(), re.MULTILINE)
        assert found, name
        return float(found[1])

    async def publish_rows(
        self, count: int, publisher: Publisher | None = None, table: Table = ORDERS
    ) -> None:
        for start in range(0, count, BATCH):
            size = min(BATCH, count - start)
            await (publisher or self.publisher).publish(size, table=table, pad="x" * ROW_BYTES)

    async def broadcast(self, count: int) -> None:
        """As clients of another node would."""
        payload = json.dumps("y" * POST_BYTES).encode()
        line = broadcast_line(payload, Sender(None, None), "2026-01-01T00:00:00.000000Z", to_self=True)
        broker = Broker(self.publisher.store, Settings())
        for _ in range(count):
            await topics.broadcast(
                broker,
                [Post("demo", room(number), [line], History(POSTS, 300)) for number in range(CHANNELS)],
            )


def room(number: int) -> str:
    return parse_channel(f"room:{number}").topic


@asynccontextmanager
async def stage(directory: Path, database_url: str, redis_url: str) -> AsyncIterator[Stage]:
    config, port, internal_port = directory / "realtime.toml", free_port(), free_port()
    # Nobody is parted from for being slow: the budget has to do.
    config.write_text(
        f'redis_url = "{redis_url}"\ndrain_seconds = 0\nqueue_budget_bytes = {BUDGET_MIB * MIB}\n'
        "[limits]\nslow_consumer_seconds = 3600\n"
        f'[projects.demo]\ndatabase_url = "{database_url}"\njwt_secret = "{SECRET}"\n'
    )
    settings = settings_for(database_url, redis_url)
    words = ("--config", config, "--host", "127.0.0.1", "--port", port, "--internal-port", internal_port)
    async with (
        connect(redis_url) as store,
        running("gateway", *words, directory=directory) as program,
        aiohttp.ClientSession() as http,
    ):
        gateway = Gateway(settings, port, http)
        await program.does(lambda: is_ready(gateway.url))
        history = History(2 * HISTORY_ROWS, 3_600)
        yield Stage(gateway, internal_port, program, Publisher(store, history))


async def subscribe(raw: RawSocket, channel: str, since: str | None = None) -> str:
    """Subscribe and return the position; nothing else is read."""
    raw.send(frame(TEXT, json.dumps({"type": "subscribe", "channel": channel, "since": since}).encode()))
    answer = json.loads(await raw.text())
    assert answer["type"] == "subscribed", answer
    assert answer["recovered"] is (since is not None)
    return answer["position"]


async def positions(gateway: Gateway) -> dict[str, str]:
    """Where all channels begin."""
    async with raw_socket(gateway) as raw:
        names = ["table:orders", "table:users", *(f"room:{number}" for number in range(CHANNELS))]
        return {name: await subscribe(raw, name) for name in names}


async def hear_rows(raw: RawSocket, count: int) -> None:
    """Read so many rows, which must come in order and once."""
    expected, rest = 1, b""
    while expected <= count:
        data = await asyncio.wait_for(raw.reader.read(2**18), 60)
        assert data, "the gateway closed the connection"
        rest += data
        assert b'"resync"' not in rest
        end = 0
        for match in ID.finditer(rest):
            assert int(match[1]) == expected
            expected, end = expected + 1, match.end()
        rest = rest[max(end, len(rest) - 64) :]


async def hogs(stage: Stage, stack: AsyncExitStack, begin: dict[str, str]) -> None:
    """Clients that subscribe and read no more: to the table and to rooms, with and without `since`."""
    for number in range(OF_A_KIND):
        name = f"room:{number % CHANNELS}"
        for channel, since in [
            ("table:orders", begin["table:orders"]),
            ("table:users", None),
            (name, begin[name]),
            (name, None),
        ]:
            raw = await stack.enter_async_context(raw_socket(stage.gateway, receive_bytes=4_096))
            await subscribe(raw, channel, since)


@pytest.mark.standalone
@pytest.mark.timeout(SECONDS + 60)
async def test_two_hundred_who_read_nothing_take_no_more_than_the_budget_and_nobody_else_notices(
    database_url, redis_url, tmp_path
):
    async with stage(tmp_path, database_url, redis_url) as crowd, asyncio.timeout(SECONDS):
        others = Publisher(crowd.publisher.store, crowd.publisher.history)
        begin = await positions(crowd.gateway)
        await crowd.publish_rows(HISTORY_ROWS)
        await crowd.broadcast(POSTS)
        before = crowd.rss_mib()
        async with AsyncExitStack() as stack:
            bystander = await stack.enter_async_context(raw_socket(crowd.gateway))
            await hogs(crowd, stack, begin)
            assert await subscribe(bystander, "table:orders", begin["table:orders"]) == begin["table:orders"]
            hearing = asyncio.create_task(hear_rows(bystander, HISTORY_ROWS + LIVE_ROWS))
            async with background(asyncio.create_task(watch(crowd))):
                await crowd.publish_rows(LIVE_ROWS)
                await crowd.publish_rows(OTHER_ROWS, others, USERS)
                await crowd.broadcast(50)
                await hearing
            closed = await crowd.figure("realtime_gateway_slow_consumers_total")
            waiting = await crowd.figure("realtime_gateway_queue_bytes") / MIB
        most = crowd.most_mib()
        await eventually(lambda: crowd.rss_mib() < before + KEPT_MIB)
        after = crowd.rss_mib()
        sys.stdout.write(
            f"\ngateway: {before:.0f} MiB before, {most:.0f} MiB at most, {after:.0f} MiB after;"
            f" {waiting:.0f} MiB waited in the end, {closed:.0f} were closed\n"
        )
    assert most - before < BUDGET_MIB + MORE_MIB


async def watch(crowd: Stage) -> None:
    """What waits is within the budget at every look, or is on its way back."""
    while True:
        assert await crowd.figure("realtime_gateway_queue_bytes") < 1.5 * BUDGET_MIB * MIB
        await asyncio.sleep(0.1)
