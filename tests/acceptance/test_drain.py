"""A gateway that is told to stop sends its clients away, a few at a time; told twice, it just ends."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import AsyncExitStack

from tests.acceptance.conftest import Stage
from tests.acceptance.crowds import node, people
from tests.acceptance.programs import START_SECONDS
from tests.acceptance.served import get
from tests.gateway_fixture import Client, eventually, token_for

DRAIN_SECONDS = 12  # in which the rest of the test can be done, also where the machine is busy


async def hear_until_closed(client: Client) -> list[dict]:
    """What a client is told from now on, until its socket is closed."""
    heard = []
    while (frame := await client.web_socket.receive(START_SECONDS)).type.name == "TEXT":
        heard.append(json.loads(frame.data))
    return heard


async def test_clients_are_told_when_to_go_and_served_until_then(stage: Stage):
    stage.write(drain_seconds=DRAIN_SECONDS)
    async with node(stage) as leaving, node(stage) as other, AsyncExitStack() as stack:
        clients = await stack.enter_async_context(people(leaving, 20))
        for client in clients:
            await client.subscribe("room:lobby")
        ends = [asyncio.create_task(hear_until_closed(client)) for client in clients]
        leaving.send(signal.SIGTERM)
        await eventually(lambda: leaving_is_draining(leaving.url))
        async with leaving.socket(token=token_for()) as late:
            assert await late.is_refused() == ("unavailable", 4503)
        async with other.client() as speaker:
            await speaker.ask(type="broadcast", channel="room:lobby", payload="still here", ref=1)
        heard = await asyncio.gather(*ends)
        assert leaving.program is not None
        assert await leaving.program.ends() == 0
    assert [client.web_socket.close_code for client in clients] == [1001] * 20
    farewells = [[one for one in messages if one["type"] == "reconnect"] for messages in heard]
    assert [[one["reason"] for one in each] for each in farewells] == [["draining"]] * 20
    delays = sorted(each[0]["after_ms"] for each in farewells)
    assert len(set(delays)) == 20
    assert 0 <= delays[0] < delays[-1] <= DRAIN_SECONDS * 1_000
    served = [messages for messages in heard if any(one["type"] == "broadcast" for one in messages)]
    assert served, "nobody was served while the node drained"


async def leaving_is_draining(url: str) -> bool:
    status, body = await get(f"{url}/readyz")
    return status == 503 and "draining" in body


async def test_a_node_without_clients_ends_at_once(stage: Stage):
    stage.write(drain_seconds=3_600)
    async with node(stage) as idle:
        assert idle.program is not None
        assert await idle.program.stop() == 0


async def test_a_second_signal_ends_it_at_once(stage: Stage):
    stage.write(drain_seconds=3_600)
    async with node(stage) as leaving, people(leaving, 2):
        assert leaving.program is not None
        leaving.send(signal.SIGTERM)
        await eventually(lambda: leaving_is_draining(leaving.url))
        assert await leaving.program.stop() == 1
