"""Fail-overs of a cluster and under sentinels, while everybody works, lose nothing silently."""

from __future__ import annotations

import asyncio

import pytest

from tests.acceptance.chaos_runs import SECONDS, broken, chaos, figure

pytestmark = pytest.mark.standalone  # of a Redis of its own, whichever `--redis` names

ATTEMPTS = 4
FAIL_OVERS = ("redis-killed", "redis-replaced", "redis-switched")


async def expect_nothing_lost(redis: str, seed: int, kinds: tuple[str, ...]) -> None:
    """Let each kind of fault strike once; the seed is one whose calms are short."""
    faults = ("--faults", ",".join(kinds), "--minutes", 0, "--at-least", len(kinds))
    status, said = await chaos("--redis", redis, "--seed", seed, *faults)
    assert f"seed {seed}: nothing lost" in said, said
    assert status == 0
    assert all(f"{kind} 1" in said for kind in kinds), said
    assert figure("deliveries", said) > 1_000


@pytest.mark.timeout(SECONDS + 60)
async def test_fail_overs_lose_nothing_in_a_cluster_whose_slots_move_and_under_sentinels():
    # At the same time: most of it is waiting.
    await asyncio.gather(
        expect_nothing_lost("cluster", 8, (*FAIL_OVERS, "redis-slots-moved")),
        expect_nothing_lost("sentinel", 45, FAIL_OVERS),
    )


@pytest.mark.timeout(ATTEMPTS * SECONDS)
async def test_the_referee_sees_a_channel_that_was_thrown_off_and_left():
    """By a slot that moves away and comes back before the gateway has looked, which is chance."""
    words = ("--redis", "cluster", "--sabotage", "thrown-off", "--faults", "redis-slots-moved")
    for _ in range(ATTEMPTS):
        status, said = await broken("--seed", 1, *words, "--minutes", 0, "--at-least", 1, "--settle", 4)
        assert "each back at once" in said
        if figure("losses", said):
            assert status == 1
            return
    pytest.fail(f"no losses with thrown-off taken out:\n{said}")
