"""A gateway whose parts may fail for mallory, for one channel or once, and bob, who must not notice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.timings import DEFAULTS, Timings
from realtime.process.reload import Reloads
from realtime.settings.config import Settings
from tests.gateway_fixture import Client, Gateway, eventually, running_gateway, token_for

MALLORY = token_for(sub="mallory")


class Unheard(Exception):
    """What nobody foresaw."""


@asynccontextmanager
async def serving(
    settings: Settings,
    *,
    errors: int = 1,
    reloads: Reloads | None = None,
    timings: Timings = DEFAULTS,
) -> AsyncIterator[tuple[Gateway, Client]]:
    """A gateway, and bob in it, whose broadcasts must come back in the end."""
    running = running_gateway(settings, expected_errors=errors, reloads=reloads, timings=timings)
    async with running as gateway:
        await eventually(gateway.is_ready)
        async with gateway.client(token_for(sub="bob")) as bob:
            await bob.subscribe("room:bob")
            yield gateway, bob
            await bob.say(type="broadcast", channel="room:bob", payload="still here")
            assert (await bob.hear())["payload"] == "still here"
