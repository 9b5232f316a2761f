"""How a node's life ends while it is being renewed."""

from __future__ import annotations

import asyncio
from typing import cast

from gateway.presence.node import Node
from gateway.presence.store import People

TTL_SECONDS = 0.02


class Lives:
    """Redis' lives of nodes; an answer to a renewal comes when the life has been buried."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.renewing = asyncio.Event()
        self.buried = asyncio.Event()

    async def begin_life(self, life: str, *_: object) -> frozenset[str]:
        self.begun.append(life)
        return frozenset(["reign"])

    async def renew_life(self, *_: object) -> bool:
        self.renewing.set()
        await self.buried.wait()
        return False

    async def bury(self, life: str) -> None:
        assert life in self.begun
        self.buried.set()


async def test_a_life_that_is_buried_while_it_is_renewed_has_no_successor() -> None:
    lives = Lives()
    node = Node(cast("People", lives), "n", "now", TTL_SECONDS)
    async with asyncio.timeout(45), asyncio.TaskGroup() as tasks:
        tasks.create_task(node.live(), name="life of the node")
        await lives.renewing.wait()
        await node.leave_fleet()
    assert lives.begun == ["n-0"]
