"""The JavaScript client holds no more after five thousand reconnects than after one thousand.

Run with `-s` to see what it holds.
"""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.node import JAVASCRIPT, node_with_ws, running_node

MARKS = [1_000, 5_000]
# A function and a listener that each reconnect leaves behind would be a megabyte in all.
MOST_BYTES = 750_000


async def test_memory_is_flat_over_thousands_of_reconnects(tmp_path: Path) -> None:
    runtime = node_with_ws()
    script = JAVASCRIPT / "memory.mjs"
    async with running_node(runtime, script, tmp_path, "--expose-gc", marks=MARKS) as program:
        for held in range(len(MARKS)):
            await program.does(lambda held=held: len(program.events) > held, seconds=110)
        await program.does(lambda: len(program.events) == len(MARKS) + 1)
    *_, early, late, closed = program.events
    for event in program.events:
        print(event)  # noqa: T201
    assert late["connections"] >= MARKS[-1]
    assert late["changes"] > 0.9 * late["connections"], "the connections were cut too early"
    assert late["heapUsed"] - early["heapUsed"] < MOST_BYTES
    assert early["asked"] == late["asked"] == 1, "the token was good, and asked for again"
    assert 0 < late["listeners"] == early["listeners"]
    assert 0 < late["timers"] <= 5
    assert (closed["listeners"], closed["timers"]) == (0, 0)
