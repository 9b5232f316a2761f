"""A gateway is killed, and its clients come back at once: what they were there takes none of their places."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from realtime import names
from realtime.redis.client import Store
from realtime.settings.config import load
from tests.acceptance.programs import Program, running
from tests.fleet_fixture import history
from tests.gateway_fixture import Client, Gateway, eventually, running_gateway, stays, token_for
from tests.limits_fixture import toml
from tests.ports import free_port

TOO_MANY = ("too_many_connections", 4429)
BOUND_SECONDS = 15.0  # to be let in: less than a life lasts, and more than a busy machine takes

LIMITS = ["max_connections = 4", "max_connections_per_user = 3", "max_connections_per_ip = 4"]

Fleet = Callable[[str], AbstractAsyncContextManager[tuple[Gateway, Gateway, Program]]]


@pytest.fixture
def fleet(postgres_url: str, redis_url: str, tmp_path: Path) -> Fleet:
    """Run a gateway here, and another one as a process, to which something may happen."""

    @asynccontextmanager
    async def run(demo: str) -> AsyncIterator[tuple[Gateway, Gateway, Program]]:
        text, port = toml(postgres_url, redis_url, demo=demo), free_port()
        (tmp_path / "realtime.toml").write_text(text)
        command = ("gateway", "--config", "realtime.toml", "--host", "127.0.0.1", "--port", port)
        async with (
            running_gateway(load(text, {})) as survivor,
            running(*command, directory=tmp_path) as program,
        ):
            doomed = Gateway(survivor.settings, port, survivor.http)
            await program.says('"event": "ready"')
            await eventually(survivor.is_ready)
            yield survivor, doomed, program

    return run


async def enter(people: AsyncExitStack, gateway: Gateway, sub: str = "bob") -> Client:
    """Come in at the first try."""
    return await people.enter_async_context(gateway.client(token_for(sub=sub)))


@pytest.mark.parametrize("limit", LIMITS)
async def test_clients_of_a_killed_node_come_in_at_once_at_the_first_try(fleet, limit):
    async with (
        fleet(limit) as (survivor, doomed, program),
        survivor.client(token_for(sub="alice")) as bystander,
        AsyncExitStack() as before,
        AsyncExitStack() as after,
    ):
        for _ in range(3):
            await enter(before, doomed)
        await program.stop(signal.SIGKILL)
        async with asyncio.timeout(BOUND_SECONDS):
            await asyncio.gather(*(enter(after, survivor) for _ in range(3)))
        async with survivor.socket(token=token_for(sub="bob")) as one_too_many:
            assert await one_too_many.is_refused() == TOO_MANY
        assert (await bystander.ask(type="ping"))["type"] == "pong"


async def test_a_full_project_of_nodes_that_live_refuses_soon(fleet):
    async with fleet(LIMITS[0]) as (survivor, doomed, _), AsyncExitStack() as people:
        for gateway in (survivor, doomed, survivor, doomed):
            await enter(people, gateway)
        for gateway in (survivor, doomed) * 5:
            async with gateway.socket(token=token_for()) as client:
                assert await client.is_refused() == TOO_MANY


async def test_a_frozen_node_that_comes_back_keeps_its_people_and_nobody_else_comes_in(fleet, store: Store):
    """They are over the limit for a while: it was only suspected."""
    async with fleet(LIMITS[0]) as (survivor, sleeper, program), AsyncExitStack() as people:
        asleep = [await enter(people, sleeper) for _ in range(4)]
        program.send(signal.SIGSTOP)
        try:
            awake = [await enter(people, survivor) for _ in range(2)]
        finally:
            program.send(signal.SIGCONT)
        for client in (*asleep, *awake):
            assert (await client.ask(type="ping"))["type"] == "pong"
        await eventually(lambda: refuses(survivor))
        for client in awake:
            await client.web_socket.close()
        await eventually(lambda: is_open(store, 4))
        assert await refuses(survivor)
        await asleep[0].web_socket.close()
        await eventually(lambda: is_open(store, 3))
        await enter(people, survivor)
        lost = [one for one in (await history(survivor))["connections"] if one["reason"] == "node_lost"]
        assert lost == []


async def refuses(gateway: Gateway) -> bool:
    async with gateway.socket(token=token_for()) as client:
        return (await client.hear())["type"] == "error"


async def is_open(store: Store, count: int) -> bool:
    return await store.call("HLEN", names.open_connections("demo")) == count


async def test_what_a_killed_node_had_is_cleaned_up_by_its_life_and_not_by_its_beat(fleet, store: Store):
    async with fleet("") as (survivor, doomed, program), AsyncExitStack() as people:
        await enter(people, doomed)
        life = await eventually(lambda: life_with_clients(survivor, store))
        await program.stop(signal.SIGKILL)

        async def is_silent() -> bool:
            return not await store.call("EXISTS", names.node_beat(life))

        async def is_kept() -> bool:
            return await store.call("EXISTS", names.node(life)) and await is_open(store, 1)

        await eventually(is_silent)
        await stays(is_kept, 2.0)


async def life_with_clients(gateway: Gateway, store: Store) -> str | None:
    """The life of the one node that says that somebody is connected to it; None as long as there is none."""
    token = token_for(role="service_role")
    _, answer, _ = await gateway.rest("GET", "/status", token)
    count = {node["id"]: node["connections"] for node in answer["nodes"]}
    lives = [life.decode() for life in await store.call("SMEMBERS", names.nodes())]
    busy = [life for life in lives if count.get(life.rpartition("-")[0], 0) > 0]
    assert len(busy) < 2
    return busy[0] if busy else None
