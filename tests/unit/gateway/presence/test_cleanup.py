"""How a node looks for dead nodes, and what it says of itself while it cannot."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from gateway.presence.cleanup import clean_up
from gateway.presence.node import Node
from gateway.presence.stores import Stores
from realtime.errors import Unavailable
from tests.clean_log import logged

TTL_SECONDS = 0.02


class Looks:
    """A node that finds nobody dead; its looks fail in between, and the last one never ends."""

    def __init__(self, *outcomes: bool) -> None:
        self._outcomes = list(outcomes)
        self.done = asyncio.Event()

    async def dead_incarnations(self) -> list[str]:
        if not self._outcomes:
            self.done.set()
            await asyncio.Event().wait()
        if self._outcomes.pop(0):
            return []
        raise Unavailable("Redis cannot be reached now")


async def test_an_outage_of_redis_is_logged_once(caplog: Any) -> None:
    node = Looks(True, False, False, False, True, False, False, True)
    cleanup = asyncio.create_task(clean_up(cast("Stores", None), cast("Node", node), [], TTL_SECONDS))
    async with asyncio.timeout(45):
        await node.done.wait()
    cleanup.cancel()
    await asyncio.wait([cleanup])
    assert len(logged(caplog, "cleanup_failed")) == 2


class Dead:
    """One incarnation has ended, and nobody else cleans up after it."""

    def __init__(self, projects: set[str]) -> None:
        self.projects = projects
        self.looked_in: list[str] = []
        self.deleted = asyncio.Event()
        self.stores = SimpleNamespace(presence=self, connections=self, nodes=self)

    async def dead_incarnations(self) -> list[str]:
        return [] if self.deleted.is_set() else ["dead-0"]

    async def claim(self, incarnation: str, seconds: float) -> bool:
        return True

    async def topics_of(self, incarnation: str) -> list[tuple[str, str]]:
        return []

    async def open_of(self, project: str, incarnation: str) -> list[Any]:
        self.projects.add("added meanwhile")
        self.looked_in.append(project)
        return []

    async def delete(self, incarnation: str) -> None:
        self.deleted.set()


async def test_projects_may_come_while_a_dead_nodes_clients_are_looked_for() -> None:
    dead = Dead({"a", "b"})
    cleanup = asyncio.create_task(
        clean_up(cast("Stores", dead.stores), cast("Node", dead), dead.projects, TTL_SECONDS)
    )
    async with asyncio.timeout(45):
        await dead.deleted.wait()
    cleanup.cancel()
    await asyncio.wait([cleanup])
    assert dead.looked_in == ["a", "b"]
