"""What a delivery costs a gateway: CPU of its process by changes delivered, beside what it is compared with.

Real Valkey, each server as a process of its own, subscribers in another one; changes are published
as the notifier publishes them, at several rates. Beside the gateway stand the naive fan-out and a bare loop
of `transport.write`. The servers take turns.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench.changes import Changes, line_of
from bench.cpu import cpu_seconds
from bench.figures import Figure, median, percentile
from bench.programs import NO_DATABASE, PROJECT, Program, Server, baseline, gateway, program
from realtime import names
from realtime.channels import Table
from realtime.dev.valkey import valkey
from realtime.redis.client import connect

TABLE = Table("public", "bench")
DATA = '{"at": %d, "name": "Rahul", "note": "' + "x" * 113 + '"}'  # `at` is when it was published, in ns
KINDS = ("naive", "bare", "gateway")
DEADLINE_SECONDS = 120
POLL_SECONDS = 0.05


class Cost(NamedTuple):
    """Of one server at one rate: CPU of a delivery, and milliseconds from publishing to one subscriber."""

    microseconds: float
    p50_ms: float
    p99_ms: float


async def measure(subscribers: int, rates: list[int], seconds: int, rounds: int) -> list[Figure]:
    """Print and return CPU a delivery and how long a change took, at each rate; medians of the rounds."""
    costs: defaultdict[tuple[str, int], list[Cost]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="realtime-bench-") as name:
        async with valkey(Path(name), settings={"appendonly": "no"}) as server, connect(server.url) as store:
            changes = Changes(store, TABLE)
            for _ in range(rounds):
                for kind in KINDS:
                    async with _server(kind, server.url) as ours, _readers(ours, subscribers) as readers:
                        for rate in rates:
                            deliveries = rate * seconds * subscribers
                            publish = partial(changes.publish_at, rate, seconds, _line)
                            costs[kind, rate].append(await _cost(ours, readers, publish, deliveries))
    print(f"fan-out to {subscribers:,} subscribers, CPU a delivery, {rounds} rounds of {seconds} s")
    return [figure for rate in rates for figure in _figures(rate, costs, subscribers)]


def _figures(rate: int, costs: dict[tuple[str, int], list[Cost]], subscribers: int) -> list[Figure]:
    """Print and return the medians of all rounds at one rate."""
    found = {kind: Cost(*map(statistics.median, zip(*costs[kind, rate], strict=True))) for kind in KINDS}
    print(f"  {rate:>6,} changes/s:")
    for kind, cost in found.items():
        p50, p99 = f"p50 {cost.p50_ms:8.1f} ms", f"p99 {cost.p99_ms:8.1f} ms"
        print(f"    {kind:<8} {cost.microseconds:6.2f} µs, {p50}, {p99}")
    ours = found.pop("gateway")
    print(
        f"    the naive one costs {found['naive'].microseconds / ours.microseconds:.1f} times as much,"
        f" the gateway {ours.microseconds / found['bare'].microseconds:.2f} times as much as the bare loop"
    )
    what = f"{rate:,} changes/s to {subscribers:,} subscribers"
    return [
        Figure(f"{what}: {name}", ours[number], unit, {kind: cost[number] for kind, cost in found.items()})
        for number, (name, unit) in enumerate((("CPU a delivery", "µs"), ("p50", "ms"), ("p99", "ms")))
    ]


async def _cost(
    server: Server, readers: Program, publish: Callable[[], Awaitable[None]], deliveries: int
) -> Cost:
    """Publish changes that are so many deliveries; return what each cost the server."""
    before, received = cpu_seconds(server.process), int(await readers.tell("received"))
    await publish()
    expected = received + deliveries
    async with asyncio.timeout(DEADLINE_SECONDS):
        while int(await readers.tell("received")) < expected:
            await asyncio.sleep(POLL_SECONDS)
    microseconds = (cpu_seconds(server.process) - before) * 1e6 / deliveries
    delays = [delay / 1e6 for delay in json.loads(await readers.tell("delays"))]
    return Cost(microseconds, median(delays), percentile(delays, 0.99))


def _line() -> str:
    return line_of(TABLE, DATA % time.monotonic_ns())


@asynccontextmanager
async def _server(kind: str, redis_url: str) -> AsyncIterator[Server]:
    if kind == "gateway":
        async with gateway(redis_url, NO_DATABASE, "table:bench") as server:
            yield server
    else:
        async with baseline(kind, redis_url, names.topic_channel(PROJECT, TABLE.topic)) as server:
            yield server


@asynccontextmanager
async def _readers(server: Server, subscribers: int) -> AsyncIterator[Program]:
    async with program("bench.clients.readers", *server.arguments, str(subscribers)) as readers:
        await readers.answer()
        yield readers
