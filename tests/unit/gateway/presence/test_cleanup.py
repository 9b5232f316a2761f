"""How a node looks for dead nodes, and what it says of itself while it cannot."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from gateway.presence.cleanup import reap
from gateway.presence.node import Node
from gateway.presence.store import People
from realtime.errors import Unavailable
from tests.clean_log import logged

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
    async with asyncio.timeout(45):
        await node.done.wait()
    reaper.cancel()
    await asyncio.wait([reaper])
    assert len(logged(caplog, "cleanup_failed")) == 2


class Dead:
    """One life has ended, and nobody else cleans up after it."""

    def __init__(self, projects: set[str]) -> None:
        self.projects = projects
        self.looked_in: list[str] = []
        self.buried = asyncio.Event()

    async def dead_lives(self) -> list[str]:
        return [] if self.buried.is_set() else ["dead-0"]

    async def claim(self, life: str, seconds: float) -> bool:
        return True

    async def topics_of(self, life: str) -> list[tuple[str, str]]:
        return []

    async def open_of(self, project: str, life: str) -> list[Any]:
        self.projects.add("added meanwhile")
        self.looked_in.append(project)
        return []

    async def bury(self, life: str) -> None:
        self.buried.set()


async def test_projects_may_come_while_a_dead_nodes_people_are_looked_for() -> None:
    dead = Dead({"a", "b"})
    reaper = asyncio.create_task(reap(cast("People", dead), cast("Node", dead), dead.projects, TTL_SECONDS))
    async with asyncio.timeout(45):
        await dead.buried.wait()
    reaper.cancel()
    await asyncio.wait([reaper])
    assert dead.looked_in == ["a", "b"]
