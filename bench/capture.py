"""What capture costs the writers: pgbench against a bare table, one with realtime, one that notifies rows.

The three take turns, so that a slow minute of the machine is everybody's.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from bench import pgbench
from bench.figures import Figure
from bench.stage import Stage
from bench.tables import GENERATED, create_table, row_trigger

INSERT = "insert into {table} (customer, amount, note) values (:client_id, 12.50, 'a note of some length');"

TABLES = ("bare", "enabled", "notifying")


async def measure(stage: Stage, seconds: int, rounds: int, clients: int) -> list[Figure]:
    """Print the three rates, their ratios, and what the notifier needs for a change."""
    for table in TABLES:
        await stage.session.execute(create_table(table, GENERATED))
    await stage.enable("enabled")
    await stage.session.execute(row_trigger("notifying"))
    await stage.session.add_listener("rows", lambda *_: None)
    rates: dict[str, list[float]] = {table: [] for table in TABLES}
    cpu: list[float] = []
    for _ in range(rounds):
        for table in TABLES:
            published, cpu_seconds = await stage.published("enabled"), stage.cpu_seconds()
            rates[table].append(await _inserts(stage.database_url, table, seconds, clients))
            if table == "enabled":
                rows = await stage.session.fetchval("select count(*) from enabled")
                await stage.wait_published("enabled", rows)
                await stage.wait_tidy()
                cpu.append((stage.cpu_seconds() - cpu_seconds) / (rows - published))
    await stage.session.execute("drop trigger notify on notifying")
    _print(rates, cpu, f"pgbench -c {clients}, {rounds} rounds of {seconds} s")
    bare, enabled, notifying = (statistics.median(rates[table]) for table in TABLES)
    return [
        Figure("inserts with realtime on", enabled, "1/s", {"off": bare, "row trigger": notifying}),
        Figure("notifier's CPU a change", statistics.median(cpu) * 1e6, "µs"),
    ]


def _print(rates: dict[str, list[float]], cpu: list[float], how: str) -> None:
    labels = ("realtime off", "realtime on", "row trigger with pg_notify(row)")
    print(f"single-row inserts, {how}, medians:")
    for table, label in zip(TABLES, labels, strict=True):
        # Of runs that followed one another: what else the machine does changes slowly.
        ratios = [rate / bare for rate, bare in zip(rates[table], rates["bare"], strict=True)]
        runs = ", ".join(f"{rate:,.0f}" for rate in rates[table])
        print(
            f"  {label:<32}{statistics.median(rates[table]):>7,.0f}/s,"
            f" {statistics.median(ratios):.2f} of off ({runs})"
        )
    print(f"  notifier's CPU a change         {statistics.median(cpu) * 1e6:>7.1f} µs")


async def _inserts(url: str, table: str, seconds: int, clients: int) -> float:
    """Return the inserts a second."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(INSERT.format(table=table))
        script.flush()
        run = await pgbench.run(url, Path(script.name), clients, seconds, "--jobs=2")
    return run.rate
