"""A gateway is killed under 3,000 clients, and all that it had come back to the other at once.

REALTIME_CROWD is another number of clients: of 6,000 half, and so 3,000, come back at once.

They follow a table under writes, and fill the project: each finds its place, although it was counted on the
killed one a moment ago, and gets what it missed. What somebody who was there all the time notices is told.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from realtime import names
from realtime.redis.client import connect
from tests.acceptance.conftest import Stage
from tests.acceptance.light_clients import SENT_AT, LightClient, files_for
from tests.acceptance.programs import psql
from tests.acceptance.served import Served, served
from tests.change_stream import background
from tests.gateway_fixture import eventually, token_for

CLIENTS = int(os.environ.get("REALTIME_CROWD", "3000"))  # of both nodes, and of the project
OF_A_USER = 3  # connections, and as many as a user may have
AT_ONCE = 50  # that come in the beginning
PACE_SECONDS = 0.1  # between two changes
BOUND_SECONDS = 120.0  # for anything here, on a busy machine
LIMITS = ("[projects.demo.limits]", f"max_connections = {CLIENTS}", f"max_connections_per_user = {OF_A_USER}")


class Delays:
    """How late a client heard of changes, by the time at which each was written."""

    def __init__(self) -> None:
        self.worst = 0.0

    def hear(self, payload: bytes) -> None:
        start = payload.index(SENT_AT) + len(SENT_AT)
        self.worst = max(self.worst, time.time() - float(payload[start : payload.index(b"}", start)]))

    def take(self) -> float:
        worst, self.worst = self.worst, 0.0
        return 1_000 * worst


@asynccontextmanager
async def writing(database_url: str) -> AsyncIterator[None]:
    """Insert a row ten times a second, each in a transaction of its own."""
    connection = await asyncpg.connect(database_url)

    async def write() -> None:
        while True:
            await connection.execute("insert into messages (sent_at) values ($1)", time.time())
            await asyncio.sleep(PACE_SECONDS)

    try:
        async with background(asyncio.create_task(write(), name="writer")):
            yield
    finally:
        await connection.close(timeout=30)


@pytest.fixture
async def parts(stage: Stage) -> AsyncIterator[Served]:
    await psql(stage.database_url, "create table messages (id bigserial primary key, sent_at float8)")
    stage.write("heartbeat_seconds = 60", project=LIMITS)
    async with served(stage, nodes=2) as parts:
        yield parts


@pytest.fixture
def _files() -> None:
    if why_not := files_for(CLIENTS + 500):
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why_not)


def client_of(number: int, ports: list[int]) -> LightClient:
    """A client and its place: the connections of a user are on one node."""
    return LightClient(ports, token_for(sub=f"user {number // OF_A_USER}"), "table:messages")


@asynccontextmanager
async def following(clients: list[LightClient]) -> AsyncIterator[None]:
    """Let them come, some at a time, and stay while the block runs."""
    tasks: list[asyncio.Task[None]] = []
    try:
        for start in range(0, len(clients), AT_ONCE):
            some = clients[start : start + AT_ONCE]
            tasks += [asyncio.create_task(one.follow()) for one in some]
            await eventually(
                lambda some=some: all(one.subscribed or one.faults for one in some), BOUND_SECONDS
            )
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for client in clients:
            if client.transport is not None:
                client.transport.abort()


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("_files")
async def test_all_clients_of_a_killed_node_are_back_at_once_and_nobody_lost_anything(
    stage: Stage, parts: Served, capsys
):
    survivor, doomed = parts.ports
    staying = [client_of(number, [survivor]) for number in range(CLIENTS // 2)]
    moving = [client_of(number, [doomed, survivor]) for number in range(CLIENTS // 2, CLIENTS)]
    everybody, bystander, delays = [*staying, *moving], staying[0], Delays()
    bystander.on_change = delays.hear
    async with following(everybody), writing(stage.database_url):
        await eventually(lambda: all(one.last for one in everybody), BOUND_SECONDS)
        async with connect(stage.redis_url) as store:
            assert await store.call("HLEN", names.open_connections("demo")) == CLIENTS
        before = bystander.last
        delays.take()
        await eventually(lambda: bystander.last >= before + 30, BOUND_SECONDS)
        quiet = delays.take()

        parts.gateways[1].send(signal.SIGKILL)
        killed_at = time.monotonic()
        await eventually(lambda: all(one.subscribed == 2 or one.faults for one in moving), BOUND_SECONDS)
        back = sorted(one.back_at - killed_at for one in moving)
        until = bystander.last + 10
        await eventually(lambda: all(one.last >= until or one.faults for one in everybody), BOUND_SECONDS)
        told = f"{len(moving)} clients of a killed node are back, half after {back[len(back) // 2]:.1f} s"
        told += f", the last after {back[-1]:.1f} s; a change is {delays.take():.0f} ms late for a bystander"
        with capsys.disabled():
            print(f"\n{told} at worst, and was {quiet:.0f} ms before")  # noqa: T201
        assert [one.faults for one in everybody if one.faults] == []
        assert sum(one.not_recovered for one in everybody) == 0
        assert [one.subscribed for one in everybody] == [1] * len(staying) + [2] * len(moving)
