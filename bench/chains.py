"""Two chains from a commit to clients, side by side: ours, and the bare one of a few lines.

The bare chain: a row trigger notifies the row, a session listens and publishes in Redis, a process forwards
to its sockets. Both have the same Postgres, which waits for its disk, and the same Valkey; they take turns.
"""

from __future__ import annotations

import asyncio
import math
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psutil

from bench.commits import Pace, Written, write
from bench.cpu import cpu_seconds
from bench.figures import median
from bench.programs import POLL_SECONDS, Clients, Server, baseline, clients_of, gateway, program
from bench.stage import Stage
from bench.tables import GIVEN, create_table, row_trigger

GROWTH = 0.05  # of latencies, by the time that goes by: what grows faster falls behind
DRAIN_SECONDS = 5  # from the last commit; what has not come by then counts as infinitely late
FIRST_ROWS = 1_000_000_000  # distance of the ids of two turns
WARM = Pace(50, 1)
CHANNEL = "bare"


@dataclass(frozen=True, slots=True)
class Chain:
    """From a table to a server of clients; `parts` are the processes between them."""

    table: str
    server: Server
    parts: dict[str, psutil.Process]


@dataclass(frozen=True, slots=True)
class Turn:
    """One run at a rate: of all changes at all clients of the sample, how late each came."""

    written: Written
    late: list[tuple[int, float]]  # when the INSERT returned, in ns, and ms from then
    missing: int  # of the changes at the clients of the sample
    cpu: dict[str, float]  # µs a commit, by part

    @property
    def latencies(self) -> list[float]:
        """All of them, in ms; infinite for what did not come."""
        return [late for _, late in self.late] + [math.inf] * self.missing

    @property
    def falls_behind(self) -> bool:
        """Whether a rest of the commits did not come in time, or each came later than the one before."""
        return self.missing > 0 or growth(self.late) > GROWTH


def growth(late: list[tuple[int, float]]) -> float:
    """By how much latencies grow from the first third to the last, as a share of the time between."""
    late = sorted(late)
    third = len(late) // 3
    if not third:
        return 0.0
    (start, early), (end, later) = (
        (median(at for at, _ in part) / 1e6, median(ms for _, ms in part))
        for part in (late[:third], late[-third:])
    )
    return (later - early) / (end - start)


async def prepare(stage: Stage) -> None:
    """Make the table of each chain."""
    for table in ("ours", "bare"):
        await stage.session.execute(create_table(table, GIVEN))
    await stage.enable("ours")
    await stage.session.execute(row_trigger("bare"))


@asynccontextmanager
async def ours(stage: Stage) -> AsyncIterator[Chain]:
    async with gateway(stage.redis_url, stage.database_url, "table:ours") as server:
        parts = {"notifier": stage.notifier, "Valkey": stage.valkey, "gateway": server.process}
        yield Chain("ours", server, parts)


@asynccontextmanager
async def bare(stage: Stage) -> AsyncIterator[Chain]:
    async with (
        baseline("bare_gateway", stage.redis_url, CHANNEL) as server,
        program(
            "bench.baselines.bare_listener", stage.database_url, "rows", stage.redis_url, CHANNEL
        ) as listener,
    ):
        await listener.answer()
        parts = {"listener": listener.measured, "Valkey": stage.valkey, "gateway": server.process}
        yield Chain("bare", server, parts)


CHAINS = {"ours": ours, "bare chain": bare}


class Audience:
    """The clients of one chain, and what came to those of them that are the sample."""

    _firsts = count(FIRST_ROWS, FIRST_ROWS)  # of all turns in this process: no id comes twice

    def __init__(self, stage: Stage, chain: Chain, clients: Clients) -> None:
        self._stage = stage
        self._chain = chain
        self._clients = clients

    async def warm_up(self) -> None:
        await self.turn(WARM)

    async def turn(self, pace: Pace) -> Turn:
        """Commit rows at a pace; return how late they came."""
        before = {part: cpu_seconds(process) for part, process in self._chain.parts.items()}
        written = await write(self._stage.writers_url, self._chain.table, pace, next(self._firsts))
        came = await self._arrivals(len(written))
        cpu = {
            part: (cpu_seconds(process) - before[part]) * 1e6 / len(written)
            for part, process in self._chain.parts.items()
        }
        late = [
            (written.returned[row], (at - written.returned[row]) / 1e6)
            for row, at in came
            if row in written.returned
        ]
        return Turn(written, late, len(written) * self._clients.sampled - len(late), cpu)

    async def _arrivals(self, changes: int) -> list[tuple[int, int]]:
        """Rows and the times at which they came, once all have come or the time is up."""
        deadline = asyncio.get_running_loop().time() + DRAIN_SECONDS
        while int(await self._clients.sample.tell("least")) < changes:
            if asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(POLL_SECONDS)
        path = self._stage.directory / "arrivals"
        await self._clients.sample.tell(f"take {path}")
        return _pairs(path)


def _pairs(path: Path) -> list[tuple[int, int]]:
    numbers = array("q")
    numbers.frombytes(path.read_bytes())
    return list(zip(numbers[::2], numbers[1::2], strict=True))


@asynccontextmanager
async def audience(stage: Stage, chain: Chain, subscribers: int) -> AsyncIterator[Audience]:
    """Let subscribers in."""
    async with clients_of(chain.server, subscribers) as clients:
        ready = Audience(stage, chain, clients)
        await ready.warm_up()
        yield ready
