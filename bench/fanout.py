"""What a delivery costs a gateway: CPU of its process by changes delivered, beside the naive fan-out.

Real Valkey, each server as a process of its own, subscribers in another one; changes are published
as the notifier publishes them, at several rates. The two servers take turns.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

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
DATA = '{"id": 12345, "name": "Rahul", "note": "' + "x" * 120 + '"}'
LINE = change_line(line_prefix(TABLE, Event.INSERT), DATA, None, "2026-01-01T00:00:00.000000Z", False)
HISTORY = History(10_000, 3_600)
DEADLINE_SECONDS = 120
POLL_SECONDS = 0.05


async def measure(subscribers: int, rates: list[int], seconds: int, rounds: int) -> None:
    """Print microseconds of CPU a delivery, at each rate, and the ratio of the two."""
    with tempfile.TemporaryDirectory(prefix="realtime-bench-") as name:
        async with valkey(Path(name), settings={"appendonly": "no"}) as server, connect(server.url) as store:
            publications = PublicationStore(store)
            costs: dict[tuple[str, int], list[float]] = {}
            batch = 0
            for _ in range(rounds):
                for kind in ("naive", "gateway"):
                    async with _server(kind, server.url, subscribers) as (process, readers):
                        for rate in rates:
                            cost = await _cost(
                                publications, process, readers, rate, seconds, batch, subscribers
                            )
                            batch += rate * seconds
                            costs.setdefault((kind, rate), []).append(cost)
    print(f"fan-out to {subscribers:,} subscribers, CPU a delivery, {rounds} rounds of {seconds} s")
    for rate in rates:
        naive = statistics.median(costs["naive", rate])
        ours = statistics.median(costs["gateway", rate])
        print(
            f"  {rate:>6,} changes/s: naive {naive:6.2f} µs, gateway {ours:6.2f} µs, ratio {naive / ours:.1f}"
        )


async def _cost(
    publications: PublicationStore,
    process: psutil.Process,
    readers: Process,
    rate: int,
    seconds: int,
    batch: int,
    subscribers: int,
) -> float:
    """Publish at a rate; return microseconds of the server's CPU for each delivery."""
    before, received = _cpu_seconds(process), await _received(readers)
    started = time.monotonic()
    for number in range(rate * seconds):
        after = f"{batch + number - 1}:1" if batch + number else ""
        await publications.publish(
            PROJECT, str(batch + number), [Chunk(TABLE.topic, after, [1], [LINE])], HISTORY
        )
        ahead = started + (number + 1) / rate - time.monotonic()
        if ahead > 0:
            await asyncio.sleep(ahead)
    expected = received + rate * seconds * subscribers
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await _received(readers) < expected:
            await asyncio.sleep(POLL_SECONDS)
    return (_cpu_seconds(process) - before) * 1_000_000 / (rate * seconds * subscribers)


async def _received(readers: Process) -> int:
    assert readers.stdin is not None
    assert readers.stdout is not None
    readers.stdin.write(b"\n")
    return int(await readers.stdout.readline())


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@asynccontextmanager
async def _server(
    kind: str, redis_url: str, subscribers: int
) -> AsyncIterator[tuple[psutil.Process, Process]]:
    port = free_port()
    token = issue(JWT_SECRET, PROJECT, "bench", "authenticated", 3600, time.time())
    if kind == "naive":
        path = "/ws"
        module: tuple[str, ...] = (
            "bench.naive",
            str(port),
            redis_url,
            names.topic_channel(PROJECT, TABLE.topic),
        )
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
            *(sys.executable, "-m", "bench.readers", str(port), path, str(subscribers)),
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
