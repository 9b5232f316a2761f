"""What a delivery costs a gateway: CPU of its process by changes delivered, beside what it is compared with.

Real Valkey, each server as a process of its own, subscribers in another one; changes are published
as the notifier publishes them, at several rates. Beside the gateway stand the naive fan-out and a bare loop
of `transport.write`. The servers take turns.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from bench.figures import Figure
from bench.stage import JWT_SECRET, PROJECT, wait_for_port
from notifier.feed.publication_store import Chunk, PublicationStore
from realtime import names
from realtime.auth.tokens import issue
from realtime.channels import Event, Table
from realtime.dev.directory import free_port
from realtime.dev.valkey import valkey
from realtime.publications import change_line, line_prefix
from realtime.redis.client import connect
from realtime.redis.history import History

TABLE = Table("public", "bench")
PREFIX = line_prefix(TABLE, Event.INSERT)
DATA = '{"at": %d, "name": "Rahul", "note": "' + "x" * 113 + '"}'  # `at` is when it was published, in ns
HISTORY = History(10_000, 3_600)
KINDS = ("naive", "bare", "gateway")
DEADLINE_SECONDS = 120
POLL_SECONDS = 0.05


class Cost(NamedTuple):
    """Of one server at one rate: CPU of a delivery, and milliseconds from publishing to one subscriber."""

    microseconds: float
    p50_ms: float
    p99_ms: float


class Change(NamedTuple):
    """Where a run of changes begins, and how it goes on."""

    first: int
    rate: int
    seconds: int


async def measure(subscribers: int, rates: list[int], seconds: int, rounds: int) -> list[Figure]:
    """Print and return CPU a delivery and how long a change took, at each rate; medians of the rounds."""
    costs: defaultdict[tuple[str, int], list[Cost]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="realtime-bench-") as name:
        async with valkey(Path(name), settings={"appendonly": "no"}) as server, connect(server.url) as store:
            publications, first = PublicationStore(store), 0
            for _ in range(rounds):
                for kind in KINDS:
                    async with _server(kind, server.url, subscribers) as (process, readers):
                        for rate in rates:
                            changes = Change(first, rate, seconds)
                            cost = await _cost(publications, process, readers, changes, subscribers)
                            costs[kind, rate].append(cost)
                            first += rate * seconds
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
    publications: PublicationStore,
    process: psutil.Process,
    readers: Process,
    changes: Change,
    subscribers: int,
) -> Cost:
    """Publish at a rate; return what that cost the server."""
    before, received = _cpu_seconds(process), await _ask(readers, "received")
    started, count = time.monotonic(), changes.rate * changes.seconds
    for number in range(count):
        batch = changes.first + number
        line = change_line(PREFIX, DATA % time.monotonic_ns(), None, "2026-01-01T00:00:00.000000Z", False)
        chunk = Chunk(TABLE.topic, f"{batch - 1}:1" if batch else "", [1], [line])
        await publications.publish(PROJECT, str(batch), [chunk], HISTORY)
        ahead = started + (number + 1) / changes.rate - time.monotonic()
        if ahead > 0:
            await asyncio.sleep(ahead)
    expected = received + count * subscribers
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await _ask(readers, "received") < expected:
            await asyncio.sleep(POLL_SECONDS)
    microseconds = (_cpu_seconds(process) - before) * 1_000_000 / (count * subscribers)
    delays = sorted(await _ask(readers, "delays"))
    return Cost(microseconds, statistics.median(delays) / 1e6, delays[int(0.99 * (len(delays) - 1))] / 1e6)


async def _ask(readers: Process, what: str) -> Any:
    assert readers.stdin is not None
    assert readers.stdout is not None
    readers.stdin.write(f"{what}\n".encode())
    return json.loads(await readers.stdout.readline())


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@asynccontextmanager
async def _server(
    kind: str, redis_url: str, subscribers: int
) -> AsyncIterator[tuple[psutil.Process, Process]]:
    port = free_port()
    token = issue(JWT_SECRET, PROJECT, "bench", "authenticated", 3600, time.time())
    if kind != "gateway":
        path = "/ws"
        channel = names.topic_channel(PROJECT, TABLE.topic)
        module: tuple[str, ...] = (f"bench.baselines.{kind}", str(port), redis_url, channel)
    else:
        path = f"/projects/{PROJECT}/realtime/ws?token={token}"
        module = ("realtime", "--log-level", "WARNING", "gateway", "--host", "127.0.0.1", "--port", str(port))
    settings = {
        "REALTIME_REDIS_URL": redis_url,
        # Nobody listens there: whether a table is enabled is not measured.
        f"REALTIME_PROJECTS__{PROJECT}__DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        f"REALTIME_PROJECTS__{PROJECT}__JWT_SECRET": JWT_SECRET,
    }
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *module, env={**os.environ, **settings}
    )
    readers = None
    try:
        await wait_for_port(port)
        readers = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.clients.readers", str(port), path, str(subscribers)),
            stdin=PIPE,
            stdout=PIPE,
        )
        assert readers.stdout is not None
        assert await readers.stdout.readline() == b"ready\n", "the subscribers did not come in"
        yield psutil.Process(server.pid), readers
    finally:
        for process in (readers, server):
            if process is not None and process.returncode is None:
                process.terminate()
                await process.wait()
