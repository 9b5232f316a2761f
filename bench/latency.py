"""How late a change comes: from the return of the INSERT to the client, beside the bare chain."""

from __future__ import annotations

import math
import statistics
from contextlib import AsyncExitStack

from bench.chains import CHAINS, Audience, Turn, audience, prepare
from bench.commits import Pace
from bench.figures import SHARES, Figure, median, percentile
from bench.stage import stage

LONE_SECONDS, LONE_COMMITS = 3, 75  # of each turn, at least
CROWD_SECONDS = 3


async def measure(lone: list[int], crowded: list[int], subscribers: int, rounds: int) -> list[Figure]:
    """Print p50 and p99 of both chains at each rate, and the CPU of their parts for a commit."""
    print(f"latency, from the return of the INSERT to the message in the client, {rounds} turns, medians:")
    found: list[Figure] = []
    groups = (
        (1, [Pace(rate, max(LONE_SECONDS, LONE_COMMITS // rate), lone=True) for rate in lone]),
        (
            subscribers,
            [Pace.of_several(rate, CROWD_SECONDS) for rate in crowded],
        ),
    )
    async with stage() as ready:
        await prepare(ready)
        for clients, paces in groups:
            if not paces:
                continue
            async with AsyncExitStack() as open_chains:
                audiences: dict[str, tuple[AsyncExitStack, Audience]] = {}
                for name, chain in CHAINS.items():
                    own = await open_chains.enter_async_context(AsyncExitStack())
                    opened = await own.enter_async_context(chain(ready))
                    audiences[name] = own, await own.enter_async_context(audience(ready, opened, clients))
                for pace in paces:
                    turns = await _turns(audiences, pace, rounds)
                    found += _report(pace, clients, turns)
    return found


async def _turns(
    audiences: dict[str, tuple[AsyncExitStack, Audience]], pace: Pace, rounds: int
) -> dict[str, list[Turn]]:
    """The turns of each chain; one that does not deliver all in time is out, for higher rates as well."""
    turns: dict[str, list[Turn]] = {name: [] for name in CHAINS}
    for _ in range(rounds):
        for name, (own, clients) in list(audiences.items()):
            turn = await clients.turn(pace)
            turns[name].append(turn)
            if turn.missing:
                del audiences[name]
                await own.aclose()
    return turns


def _report(pace: Pace, clients: int, turns: dict[str, list[Turn]]) -> list[Figure]:
    by = f", {pace.writers} writers" if pace.writers > 1 else ""
    what = f"{pace.rate:,} commits/s{by}, {clients:,} subscriber{'s'[: clients > 1]}"
    times = {
        name: [median(percentile(turn.latencies, share) for turn in ones) for share in SHARES.values()]
        for name, ones in turns.items()
    }
    print(f"  {what}:")
    for name, ones in turns.items():
        print(f"    {name:<12}{_shown(times[name], ones)}")
    (first, mine), *others = times.items()
    figures = []
    for at, share in enumerate(SHARES):
        beside = {name: theirs[at] for name, theirs in others}
        figures.append(Figure(f"{what}: {share}", mine[at], "ms", beside))
    for name, theirs in others:
        half, most = (a / b if math.isfinite(b) else math.nan for a, b in zip(mine, theirs, strict=True))
        if math.isfinite(most):
            print(f"    {first} by {name}: p50 {half:.1f}, p99 {most:.1f}")
    return figures + _cpu(what, turns)


def _shown(times: list[float], turns: list[Turn]) -> str:
    if not turns:
        return "was out before"
    rate = statistics.median(turn.written.rate for turn in turns)
    if any(turn.missing for turn in turns):
        last = turns[-1]
        share = 1 - last.missing / len(last.latencies)
        return f"falls behind: {share:.0%} of what was committed, {rate:,.0f}/s, came in time"
    half, most = times
    cpu = ", ".join(f"{part} {cost:,.0f} µs" for part, cost in _cost(turns).items())
    return f"p50 {half:6.2f} ms, p99 {most:6.2f} ms at {rate:,.0f}/s; CPU a commit: {cpu}"


def _cost(turns: list[Turn]) -> dict[str, float]:
    return {part: median(turn.cpu[part] for turn in turns) for part in turns[0].cpu} if turns else {}


def _cpu(what: str, turns: dict[str, list[Turn]]) -> list[Figure]:
    """The CPU of the parts of each chain for a commit, of those that carried all."""
    return [
        Figure(f"{what}: CPU of {name}'s {part} a commit", cost, "µs")
        for name, ones in turns.items()
        if not any(turn.missing for turn in ones)
        for part, cost in _cost(ones).items()
    ]
