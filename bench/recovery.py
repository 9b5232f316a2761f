"""Clients of a node that ended come to another one at once, each with the changes that it missed since.

Beside it stands what everybody writes first, where each client reads the history itself. Both take turns.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from bench.clients.sockets import open_client, read_until, say
from bench.cpu import cpu_seconds
from bench.figures import Figure, median
from bench.programs import Server, allow_files, baseline, gateway, program
from bench.stage import Stage, stage
from bench.tables import GIVEN, create_table

TABLE, STREAM = "ours", "bare"
INSERT = "insert into ours (id, customer, amount, note) values ($1, 7, 12.50, 'a note of some length')"
# As long as our message for the same change; a row's JSON comes between.
HEAD = '{"type":"realtime","channel":"table:ours","schema":"public","table":"ours","event":"INSERT","data":'
TAIL = ',"old":null,"commit_timestamp":"2026-01-01T00:00:00.000000Z","id":"0123456789abcdef0123-500"}'


@dataclass(frozen=True, slots=True)
class Return:
    """One turn: seconds for all clients, and µs of CPU."""

    let_in: float
    told: float
    gateway_a_client: float
    gateway_a_change: float
    valkey_a_change: float


UNITS = {
    "let_in": ("all clients are let in after", "s"),
    "told": ("all of them have what they missed, from then, after", "s"),
    "gateway_a_client": ("CPU of the gateway for a client that is let in", "µs"),
    "gateway_a_change": ("CPU of the gateway for a change", "µs"),
    "valkey_a_change": ("CPU of Valkey for a change", "µs"),
}

Open = Callable[[], AbstractAsyncContextManager[Server]]


async def measure(clients: int, changes: int, rounds: int) -> list[Figure]:
    """Print how long it takes until all have all, and the CPU of the gateway and of Valkey."""
    if not allow_files(clients):
        print(f"recovery: {clients:,} clients are more than `ulimit -n` allows")
        return []
    print(f"recovery, {clients:,} clients with {changes:,} missed changes each, {rounds} turns, medians:")
    async with stage() as ready:
        servers = {
            "ours": await _ours(ready, changes),
            "each reads for itself": await _bare(ready, changes),
        }
        turns: dict[str, list[Return]] = {name: [] for name in servers}
        for _ in range(rounds):
            for name, server in servers.items():
                async with server() as opened:
                    turns[name].append(await _turn(ready, opened, clients, changes))
    return _report(turns, f"{clients:,} clients, {changes:,} changes")


def _report(turns: dict[str, list[Return]], scale: str) -> list[Figure]:
    figures = []
    for field in fields(Return):
        what, unit = UNITS[field.name]
        mine, *others = (
            (name, median(getattr(one, field.name) for one in ones)) for name, ones in turns.items()
        )
        shown = f"ours {mine[1]:,.2f} {unit}, " + ", ".join(
            f"{name} {value:,.2f} {unit} ({value / mine[1]:.1f} times)" for name, value in others
        )
        print(f"  {what}: {shown}")
        figures.append(Figure(f"{scale}: {what}", mine[1], unit, dict(others)))
    return figures


async def _turn(stage: Stage, server: Server, clients: int, changes: int) -> Return:
    async with program("bench.clients.returners", str(server.port), server.path, '"connected"') as returners:
        before = cpu_seconds(server.process)
        let_in = float(await returners.tell(f"open {clients}"))
        opened, valkey = cpu_seconds(server.process), cpu_seconds(stage.valkey)
        told = float(await returners.tell(f"return {changes} {server.words}"))
        return Return(
            let_in,
            told,
            (opened - before) / clients * 1e6,
            (cpu_seconds(server.process) - opened) / clients / changes * 1e6,
            (cpu_seconds(stage.valkey) - valkey) / clients / changes * 1e6,
        )


async def _ours(stage: Stage, changes: int) -> Open:
    """Let a node end while changes come; return how to run another one, whose clients missed them all."""
    await stage.session.execute(create_table(TABLE, GIVEN))
    await stage.enable(TABLE)
    await stage.session.execute(INSERT, 0)
    await stage.wait_published(TABLE, 1)
    run = partial(gateway, stage.redis_url, stage.database_url, f"table:{TABLE}")
    async with run() as server:
        client = open_client(server.port, server.path)
        say(client, server.words)
        answer = read_until(client, b'"subscribed"')
        client.close()
    found = re.search(rb'"position":"([^"]+)"', answer)
    assert found is not None, answer
    for number in range(1, changes + 1):
        await stage.session.execute(INSERT, number)
    await stage.wait_published(TABLE, changes + 1)
    await stage.wait_tidy()
    return partial(gateway, stage.redis_url, stage.database_url, f"table:{TABLE}", found[1].decode())


async def _bare(stage: Stage, changes: int) -> Open:
    """Write the same changes into a stream; return how to run the server that reads it."""
    rows = await stage.session.fetch(f"select to_jsonb(ours)::text from {TABLE} order by id")
    ids: list[Any] = [await stage.redis.xadd(STREAM, {"line": f"{HEAD}{row[0]}{TAIL}"}) for row in rows]
    assert len(ids) == changes + 1
    return partial(baseline, "bare_recovery", stage.redis_url, STREAM, words=ids[0].decode(), answer="")
