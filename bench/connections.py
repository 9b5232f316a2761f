"""What clients that only sit there cost: memory of the gateway's process and of Redis, for each of them.

A real Valkey and a gateway of its own for each run, the clients in another process. What a step adds, divided
by the clients, is the figure; the kernel's part of a socket is in none.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import psutil
from redis.asyncio import Redis

from bench.figures import Figure
from bench.programs import NO_DATABASE, PROJECT, allow_files, gateway, program
from notifier.feed.publication_store import Chunk, PublicationStore
from realtime.channels import Event, Table
from realtime.dev.valkey import valkey
from realtime.publications import change_line, line_prefix
from realtime.redis.client import connect
from realtime.redis.history import History

STEPS = {
    "open": "open {clients}",
    "subscribed to one table, the same": "subscribe table:bench",
    "subscribed to a channel of its own": "subscribe room:*",
    "present in one channel, the same": "presence room:lobby",
}
WARM = 100  # clients before the first look: what is there once for all of them is there then
UNBOUNDED = {"REALTIME_LIMITS__MAX_CONNECTIONS": "0"}
CHANGES = 10_000  # in history, of which one is measured
TABLE = Table("public", "history")
DATA = '{"id": 12345, "name": "Rahul", "note": "' + "x" * 120 + '"}'
LINE = change_line(line_prefix(TABLE, Event.INSERT), DATA, None, "2026-01-01T00:00:00.000000Z", False)


async def measure(sizes: list[int], rounds: int) -> list[Figure]:
    """Print and return bytes a client, of gateway and Redis, and bytes of a change in history."""
    figures: list[Figure] = []
    for clients in sizes:
        if not allow_files(WARM + clients):
            print(f"connections: {clients:,} are more than `ulimit -n` allows")
            continue
        runs = [await _run(clients) for _ in range(rounds)]
        print(f"memory of each of {clients:,} idle clients, {rounds} rounds:")
        for step in STEPS:
            ours, store = (statistics.median(run[step][part] for run in runs) for part in (0, 1))
            print(f"  {step:<36} gateway {ours / 1024:6.2f} KiB, Redis {store:6.0f} bytes")
            figures += [
                Figure(f"{clients:,} clients, {step}: gateway", ours / 1024, "KiB"),
                Figure(f"{clients:,} clients, {step}: Redis", store, "bytes"),
            ]
        print(
            f"  gateway before the first: {statistics.median(run['base'][0] for run in runs) / 2**20:.0f} MiB"
        )
    for together in (1, 100):
        cost = await _history(together)
        shown = f"a change of {len(LINE)} bytes in history, {together:>3} a publication"
        print(f"  {shown}: {cost:.0f} bytes of Redis")
        figures.append(Figure(shown, cost, "bytes"))
    return figures


async def _run(clients: int) -> dict[str, tuple[float, float]]:
    """One gateway's life: what each step adds for each client, in bytes, and its size before the first."""
    with tempfile.TemporaryDirectory(prefix="realtime-bench-") as name:
        async with (
            valkey(Path(name), settings={"appendonly": "no"}) as server,
            Redis.from_url(server.url) as redis,
            gateway(server.url, NO_DATABASE, "table:bench", settings=UNBOUNDED) as ours,
            program("bench.clients.idlers", str(ours.port), ours.path) as idlers,
        ):
            found = {"base": await _memory(ours.process, redis)}
            await idlers.tell(f"open {WARM}")
            before = await _memory(ours.process, redis)
            for step, command in STEPS.items():
                await idlers.tell(command.format(clients=clients))
                after = await _memory(ours.process, redis)
                # All of them, the warm ones too, carry out what is not `open`.
                by = clients if step == "open" else clients + WARM
                found[step] = ((after[0] - before[0]) / by, (after[1] - before[1]) / by)
                before = after
            return found


async def _memory(process: psutil.Process, redis: Redis) -> tuple[float, float]:
    memory = await redis.info("memory")
    return float(process.memory_info().rss), float(memory["used_memory"])


async def _history(together: int) -> float:
    """Bytes of Redis for a change that a table's history keeps, with so many in each publication."""
    with tempfile.TemporaryDirectory(prefix="realtime-bench-") as name:
        async with valkey(Path(name), settings={"appendonly": "no"}) as server, connect(server.url) as store:
            publications = PublicationStore(store)
            async with Redis.from_url(server.url) as redis:
                before = (await redis.info("memory"))["used_memory"]
                after = ""
                for batch in range(CHANGES // together):
                    ids = list(range(1, together + 1))
                    chunk = Chunk(TABLE.topic, after, ids, [LINE] * together)
                    await publications.publish(PROJECT, str(batch), [chunk], History(CHANGES, 3_600))
                    after = f"{batch}:{together}"
                return float((await redis.info("memory"))["used_memory"] - before) / CHANGES
