"""A short seeded storm loses nothing; and what a broken service loses, the referee of the suite sees."""

from __future__ import annotations

import pytest

from tests.acceptance.chaos_runs import SECONDS, broken, chaos, figure

pytestmark = pytest.mark.standalone  # of a Redis of its own, whichever `--redis` names

SEEDS = range(5, 11)


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
        status, said = await broken("--seed", seed, *words)
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
