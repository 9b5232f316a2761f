"""How a node's incarnation ends while it is being renewed."""

from __future__ import annotations

import asyncio
from typing import cast

from gateway.presence.node import Node
from gateway.presence.node_store import NodeStore

TTL_SECONDS = 0.02


class Incarnations:
    """What Redis knows of nodes; it answers to a renewal when the incarnation has been deleted."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.renewing = asyncio.Event()
        self.deleted = asyncio.Event()

    async def begin(self, incarnation: str, *_: object) -> frozenset[str]:
        self.begun.append(incarnation)
        return frozenset(["replid"])

    async def renew(self, *_: object) -> bool:
        self.renewing.set()
        await self.deleted.wait()
        return False

    async def delete(self, incarnation: str) -> None:
        assert incarnation in self.begun
        self.deleted.set()


async def test_an_incarnation_that_is_deleted_while_it_is_renewed_has_no_successor() -> None:
    incarnations = Incarnations()
    node = Node(cast("NodeStore", incarnations), "n", "now", TTL_SECONDS)
    async with asyncio.timeout(45), asyncio.TaskGroup() as tasks:
        tasks.create_task(node.live(), name="life of the node")
        await incarnations.renewing.wait()
        await node.leave_fleet()
    assert incarnations.begun == ["n-0"]
