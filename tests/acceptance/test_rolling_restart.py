"""A deploy: both gateways are restarted, one after the other, under writers and clients that lose nothing."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from tests.acceptance.conftest import Stage
from tests.acceptance.followers import Follower, Writer, expect_everything_once, finish
from tests.acceptance.programs import START_SECONDS, running
from tests.acceptance.served import LOCAL, is_ready, served
from tests.gateway_fixture import eventually

CLIENTS = 60
WRITERS = 4
DRAIN_SECONDS = 3


async def test_after_a_rolling_restart_every_client_has_every_change_once_and_in_order(
    messages: Stage,
) -> None:
    messages.write(drain_seconds=DRAIN_SECONDS)
    async with served(messages, nodes=2) as parts, AsyncExitStack() as restarted:
        followers = [Follower(parts.urls[n % 2 :] + parts.urls[: n % 2]) for n in range(CLIENTS)]
        writers = [Writer(f"writer {n}") for n in range(WRITERS)]
        async with asyncio.TaskGroup() as tasks:
            for follower in followers:
                tasks.create_task(follower.follow(), name="follower")
            await eventually(lambda: all(follower.since for follower in followers), START_SECONDS)
            writing = [
                tasks.create_task(writer.write(messages.database_url), name=writer.name) for writer in writers
            ]
            for number, gateway in enumerate(parts.gateways):
                await everybody_hears_more(followers)
                assert await gateway.stop() == 0
                words = ("gateway", "--port", parts.ports[number], "--config", messages.config, *LOCAL)
                successor = await restarted.enter_async_context(running(*words, directory=messages.directory))
                await successor.does(lambda number=number: is_ready(parts.urls[number]))
            await everybody_hears_more(followers)
            await finish(messages.database_url, writers, writing)
        expect_everything_once(followers, writers)
        assert all(recovered for follower in followers for recovered in follower.came_back)
        # Each node's own at the least; those of the first were on the second when that one went.
        assert sorted({len(follower.came_back) for follower in followers}) == [1, 2]
        assert not any(follower.resyncs for follower in followers)


async def everybody_hears_more(followers: list[Follower]) -> None:
    """Wait until each heard something that it had not heard before."""
    before = [len(follower.heard) for follower in followers]
    await eventually(
        lambda: all(len(one.heard) > count for one, count in zip(followers, before, strict=True)),
        START_SECONDS,
    )
