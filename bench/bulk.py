"""One statement of very many rows: how fast it is in Redis, and how much memory the notifier takes."""

from __future__ import annotations

import asyncio
import time

from bench.figures import Figure
from bench.programs import DEADLINE_SECONDS, POLL_SECONDS
from bench.stage import Stage

SCHEMA = "create table {table} (id bigint primary key, note text)"
INSERT = "insert into {table} select i, 'a note of some length' from generate_series(1, {rows}) as i"


async def measure(stage: Stage, rows: int) -> list[Figure]:
    """Print rows a second, from commit to the last one in Redis, and the notifier's memory."""
    table = f"bulk_{rows}"
    await stage.session.execute(SCHEMA.format(table=table))
    await stage.enable(table)
    before, cpu_seconds = stage.notifier.memory_info().rss, stage.cpu_seconds()
    started = time.monotonic()
    await stage.session.execute(INSERT.format(table=table, rows=rows))
    committed = time.monotonic()
    peak = await _peak_memory(stage, table, rows)
    published = time.monotonic()
    await stage.wait_tidy()
    rate, cpu = rows / (published - committed), (stage.cpu_seconds() - cpu_seconds) / rows * 1e6
    print(
        f"one statement of {rows:,} rows: written in {committed - started:.1f} s,"
        f" {rate:,.0f} rows/s into Redis,"
        f" notifier's memory {before / 2**20:.0f} MiB before, {peak / 2**20:.0f} MiB at most,"
        f" CPU {cpu:.1f} µs a row"
    )
    return [
        Figure(f"{rows:,} rows: written in", committed - started, "s"),
        Figure(f"{rows:,} rows: into Redis", rate, "rows/s"),
        Figure(f"{rows:,} rows: notifier's memory at most", peak / 2**20, "MiB", {"before": before / 2**20}),
        Figure(f"{rows:,} rows: notifier's CPU a row", cpu, "µs"),
    ]


async def _peak_memory(stage: Stage, table: str, rows: int) -> int:
    """Return the most memory until all rows are in Redis; raises TimeoutError when for long none comes."""
    peak = published = 0
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(DEADLINE_SECONDS) as limit:
        while published < rows:
            peak = max(peak, stage.notifier.memory_info().rss)
            await asyncio.sleep(POLL_SECONDS)
            before, published = published, await stage.published(table)
            if published > before:
                limit.reschedule(loop.time() + DEADLINE_SECONDS)
    return peak
