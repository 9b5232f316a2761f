"""Gateway processes and the crowds that are on them, for tests of what becomes of people."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from realtime.settings.config import Settings
from tests.acceptance.conftest import Stage
from tests.acceptance.programs import Program, running
from tests.fleet_fixture import Crowd, crowd, history
from tests.gateway_fixture import Client, Gateway, eventually, token_for
from tests.ports import free_port

ROOM = "room:big"
WATCHED = f"presence:{ROOM}"
AT_ONCE = 50  # sockets that are opened together


@dataclass
class Node(Gateway):
    """A gateway process."""

    program: Program = field(kw_only=True)

    def send(self, number: signal.Signals) -> None:
        self.program.send(number)


@asynccontextmanager
async def node(stage: Stage) -> AsyncIterator[Node]:
    port = free_port()
    words = ("gateway", "--config", stage.config, "--host", "127.0.0.1", "--port", port)
    async with (
        running(*words, directory=stage.directory) as program,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
    ):
        gateway = Node(Settings(), port, http, program=program)

        async def ready() -> bool:
            try:
                return await gateway.is_ready()
            except aiohttp.ClientConnectionError:
                return False

        await program.does(ready)
        yield gateway


@contextmanager
def frozen(gateway: Node) -> Iterator[None]:
    """Stop the process as a paused virtual machine is stopped."""
    gateway.send(signal.SIGSTOP)
    try:
        yield
    finally:
        gateway.send(signal.SIGCONT)


@asynccontextmanager
async def people(gateway: Gateway, count: int, channel: str | None = None) -> AsyncIterator[list[Client]]:
    """So many clients of a node; present under a channel, if one is given."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def come(stack: AsyncExitStack) -> Client:
        async with gate:
            client = await stack.enter_async_context(gateway.client(token_for(sub="crowd")))
            if channel is not None:
                ack = await client.ask(type="presence", channel=channel, state={"n": 1}, ref=1)
                assert ack["type"] == "ack", ack
            return client

    async with AsyncExitStack() as stack:
        yield await asyncio.gather(*(come(stack) for _ in range(count)))


def ids(clients: list[Client]) -> set[str]:
    return {client.connected["connection_id"] for client in clients}


async def watchers_of(stack: AsyncExitStack, gateway: Gateway, count: int) -> list[Crowd]:
    clients = [await stack.enter_async_context(gateway.client(token_for(sub="bob"))) for _ in range(count)]
    return [await crowd(client, WATCHED) for client in clients]


async def ends_of(gateway: Gateway, expected: set[str]) -> list[dict[str, Any]]:
    """Wait until the history has an end for each of the connections; return the ends."""

    async def recorded() -> list[dict[str, Any]]:
        events = (await history(gateway, event="disconnect", limit=1_000))["connections"]
        ends = [event for event in events if event["connection_id"] in expected]
        return ends if {event["connection_id"] for event in ends} == expected else []

    ends: list[dict[str, Any]] = await eventually(recorded)
    return ends
