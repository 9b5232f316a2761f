"""A short seeded storm loses nothing; and what a broken service loses, the referee of the suite sees."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.programs import clean_environment

TREE = Path(__file__).parents[2]
SECONDS = 240.0  # for one run, on a busy machine
SEEDS = (5, 6, 7)


async def chaos(*words: object) -> tuple[int, str]:
    """Run the suite; return its status and what it said."""
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.chaos", *map(str, words)),
        cwd=TREE,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(SECONDS):
            said, _ = await running.communicate()
    finally:
        if running.returncode is None:
            running.send_signal(signal.SIGINT)
            await running.wait()
    return running.returncode or 0, said.decode()


def figure(name: str, said: str) -> int:
    """The number that the report begins a line with."""
    found = re.search(rf"^{name}: +(\d+)", said, re.MULTILINE)
    assert found, said
    return int(found[1])


@pytest.mark.timeout(SECONDS + 60)
async def test_a_short_storm_loses_nothing():
    status, said = await chaos("--seed", 4, "--minutes", 0.5)
    assert "seed 4: nothing lost" in said, said
    assert status == 0
    assert figure("faults", said) > 1
    assert figure("deliveries", said) > 1_000


async def expect_to_see(what: str, sabotage: str, faults: str) -> None:
    """Whether a fault strikes in the one moment that matters is chance: more than one seed may be needed."""
    for seed in SEEDS:
        words = ("--sabotage", sabotage, "--faults", faults, "--minutes", 0.5, "--settle", 15)
        status, said = await chaos("--seed", seed, *words)
        if (kept := re.search(r"^logs are kept in (\S+)$", said, re.MULTILINE)) is not None:
            shutil.rmtree(kept[1])
        if figure(what, said):
            assert status == 1
            return
    pytest.fail(f"no {what} with {sabotage} taken out:\n{said}")


@pytest.mark.timeout(len(SEEDS) * SECONDS)
async def test_the_referee_sees_a_batch_that_was_taken_twice():
    await expect_to_see("duplicates", "batch-check", "notifier-killed,notifier-redis-cut")


@pytest.mark.timeout(len(SEEDS) * SECONDS)
async def test_the_referee_sees_a_gap_that_was_not_read():
    await expect_to_see("losses", "gap-reading", "gateway-redis-cut")
