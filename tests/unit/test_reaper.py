"""What a node says of itself while it cannot look for dead nodes."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from gateway.nodes import Node
from gateway.reaper import reap
from realtime.errors import Unavailable
from realtime.people import People

TTL_SECONDS = 0.02


class Looks:
    """A node that finds nobody dead; its looks fail in between, and the last one never ends."""

    def __init__(self, *outcomes: bool) -> None:
        self._outcomes = list(outcomes)
        self.done = asyncio.Event()

    async def dead_lives(self) -> list[str]:
        if not self._outcomes:
            self.done.set()
            await asyncio.Event().wait()
        if self._outcomes.pop(0):
            return []
        raise Unavailable("Redis cannot be reached now")


async def test_an_outage_of_redis_is_logged_once(caplog: Any) -> None:
    node = Looks(True, False, False, False, True, False, False, True)
    reaper = asyncio.create_task(reap(cast("People", None), cast("Node", node), [], TTL_SECONDS))
    async with asyncio.timeout(15):
        await node.done.wait()
    reaper.cancel()
    await asyncio.wait([reaper])
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "cleaning up after dead nodes"
    ] * 2
