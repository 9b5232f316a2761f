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

from bench.changes import HISTORY, Changes, line_of
from bench.figures import Figure
from bench.programs import NO_DATABASE, allow_files, gateway, program
from realtime.channels import Table
from realtime.dev.valkey import valkey
from realtime.redis.client import connect

STEPS = {
    "open": "open {clients}",
    "subscribed to one table, the same": "subscribe table:bench",
    "subscribed to a channel of its own": "subscribe room:*",
    "present in one channel, the same": "presence room:lobby",
}
WARM = 100  # clients before the first look: what is there once for all of them is there then
UNBOUNDED = {"REALTIME_LIMITS__MAX_CONNECTIONS": "0"}
TABLE = Table("public", "history")
LINE = line_of(TABLE)


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
            changes = Changes(store, TABLE)
            async with Redis.from_url(server.url) as redis:
                before = (await redis.info("memory"))["used_memory"]
                for _ in range(HISTORY.max_entries // together):
                    await changes.publish([LINE] * together)
                after = (await redis.info("memory"))["used_memory"]
                return float(after - before) / HISTORY.max_entries
