"""Gateways behind one address, as behind a load balancer, and the ways in which they fail."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import asyncpg

from tests.acceptance.conftest import Stage
from tests.acceptance.programs import Program, running
from tests.acceptance.served import LOCAL, Served, is_ready
from tests.chaos.link import Link
from tests.gateway_fixture import eventually

PACE_SECONDS = 0.02  # between two rows of the writer


def project_url(link: Link) -> str:
    return f"http://127.0.0.1:{link.port}/projects/demo"


@dataclass
class Gateways:
    """Gateways of which one serves: all links lead to it, until it fails and the next one takes over."""

    stage: Stage
    served: Served
    links: list[Link]
    programs: AsyncExitStack
    active: int = 0
    returning: dict[int, Program] = field(default_factory=dict)  # nodes that were started again

    async def fail(self, number: signal.Signals) -> None:
        """End the gateway that serves by a signal, lead to the next one, and start the first anew."""
        failing, port = self.active, self.served.ports[self.active]
        self.active = (failing + 1) % len(self.served.ports)
        await self._is_back(self.active)
        for link in self.links:
            link.target = self.served.ports[self.active]
        program = self.returning.get(failing, self.served.gateways[failing])
        program.send(number)
        await program.ends()
        words = ("gateway", "--port", port, "--config", self.stage.config, *LOCAL)
        again = running(*words, directory=self.stage.directory)
        self.returning[failing] = await self.programs.enter_async_context(again)

    async def _is_back(self, node: int) -> None:
        if node in self.returning:
            await self.returning[node].does(partial(is_ready, self.served.urls[node]))


@asynccontextmanager
async def behind(stage: Stage, served: Served, *links: Link) -> AsyncIterator[Gateways]:
    async with AsyncExitStack() as stack:
        for link in links:
            await stack.enter_async_context(link.listening())
        yield Gateways(stage, served, list(links), await stack.enter_async_context(AsyncExitStack()))


@dataclass
class Rows:
    """One writer that inserts rows at a steady rate; `committed` has their ids in commit order."""

    connection: asyncpg.Connection[Any]
    committed: list[int] = field(default_factory=list)
    _stopped: bool = False
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def write(self) -> None:
        while not self._stopped:
            await self.insert(1)
            await asyncio.sleep(PACE_SECONDS)

    async def insert(self, count: int) -> None:
        statement = "insert into messages (body) select 'row' from generate_series(1, $1) returning id"
        async with self._turn:
            rows = await self.connection.fetch(statement, count)
            self.committed += sorted(row["id"] for row in rows)

    async def more(self, count: int) -> None:
        """Wait until so many more were written."""
        target = len(self.committed) + count
        await eventually(lambda: len(self.committed) >= target)


@asynccontextmanager
async def rows(stage: Stage) -> AsyncIterator[Rows]:
    """Write while the block runs."""
    connection = await asyncpg.connect(stage.database_url)
    try:
        written = Rows(connection)
        async with asyncio.TaskGroup() as group:
            group.create_task(written.write())
            try:
                yield written
            finally:
                written._stopped = True
    finally:
        await connection.close(timeout=30)


@dataclass
class Verdict:
    """What a referee found: ids of rows, each list empty if all went well."""

    lost: list[int] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    out_of_order: list[int] = field(default_factory=list)
    gaps: int = 0  # that the client told of


def judge(committed: list[int], heard: list[int | None]) -> Verdict:
    """Compare what was committed with what came; `None` is a gap, before which rows may be missing."""
    place = {row: index for index, row in enumerate(committed)}
    verdict = Verdict()
    came: set[int] = set()
    last, gapped = -1, False
    for one in heard:
        if one is None:
            verdict.gaps += 1
            gapped = True
            continue
        at = place[one]
        if one in came:
            verdict.twice.append(one)
        elif at < last:
            verdict.out_of_order.append(one)
        elif not gapped:
            verdict.lost += committed[last + 1 : at]
        came.add(one)
        last, gapped = max(last, at), False
    verdict.lost += committed[last + 1 :]
    return verdict
