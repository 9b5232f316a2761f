"""How many changes a second reach a crowd from their commits without falling behind, beside the bare chain.

The rate is doubled until changes come later and later, and then halved into what lies between. At the highest
rate that was kept both chains take turns.
"""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from bench.chains import CHAINS, Audience, Turn, audience, prepare
from bench.commits import Pace
from bench.figures import SHARES, Figure, median, percentile
from bench.stage import Stage, stage

STARTS = {"ours": 500, "bare chain": 50}  # changes a second
MOST = 32_000
BISECTIONS = 3  # to within a tenth
SECONDS = 3  # of each step and turn
WRITTEN = 0.95  # of a rate: writers that do not reach it are what falls behind
STEP_DOWN = 0.9  # from a rate that most turns did not keep
TRIES = 4


class Contender:
    """One chain with a crowd; it begins anew after it fell behind."""

    def __init__(self, stage: Stage, name: str, subscribers: int) -> None:
        self._stage = stage
        self._name = name
        self._subscribers = subscribers
        self._open = AsyncExitStack()
        self._audience: Audience | None = None
        self.rate = 0
        self.above = "not tried"  # what happened at the lowest rate that was not kept

    async def turn(self, rate: int) -> Turn:
        if self._audience is None:
            chain = await self._open.enter_async_context(CHAINS[self._name](self._stage))
            self._audience = await self._open.enter_async_context(
                audience(self._stage, chain, self._subscribers)
            )
        turn = await self._audience.turn(Pace.of_several(rate, SECONDS))
        if turn.missing:
            await self.close()
            await self._stage.wait_tidy()
        return turn

    async def keeps(self, rate: int) -> bool:
        turn = await self.turn(rate)
        if not kept(turn, rate):
            written, late = turn.written.rate, turn.falls_behind
            self.above = f"at {rate:,}/s " + ("it fell behind" if late else f"writers wrote {written:,.0f}/s")
        return kept(turn, rate)

    async def close(self) -> None:
        await self._open.aclose()
        self._audience = None


def kept(turn: Turn, rate: int) -> bool:
    return not turn.falls_behind and turn.written.rate >= WRITTEN * rate


async def highest(keeps: Callable[[int], Awaitable[bool]], start: int) -> int:
    """Return the highest rate that is kept, to within a tenth; 0 if not even 1 is."""
    low, high = 0, start
    while high <= MOST and await keeps(high):
        low, high = high, high * 2
    while low == 0 and high > 1:
        middle = high // 2
        if await keeps(middle):
            low = middle
        else:
            high = middle
    for _ in range(BISECTIONS if low and high <= MOST else 0):
        middle = round((low * high) ** 0.5)
        if await keeps(middle):
            low = middle
        else:
            high = middle
    return low


async def measure(subscribers: int, rounds: int) -> list[Figure]:
    """Print the highest rate of each chain, with its latencies and what its parts take of a core."""
    print(f"end to end, changes/s to {subscribers:,} subscribers without falling behind, {rounds} turns:")
    async with stage() as ready:
        await prepare(ready)
        contenders = {name: Contender(ready, name, subscribers) for name in CHAINS}
        try:
            for name, contender in contenders.items():
                contender.rate = await highest(contender.keeps, STARTS[name])
                await contender.close()
            turns = await _turns(contenders, rounds)
        finally:
            for contender in contenders.values():
                await contender.close()
    return _report(contenders, turns, subscribers)


async def _turns(contenders: dict[str, Contender], rounds: int) -> dict[str, list[Turn]]:
    """Turns of both at their rates; a rate that most turns of a chain did not keep is lowered."""
    turns: dict[str, list[Turn]] = {name: [] for name in contenders}
    for _ in range(TRIES):
        again = [name for name, ones in turns.items() if not ones and contenders[name].rate]
        for _ in range(rounds if again else 0):
            for name in again:
                turns[name].append(await contenders[name].turn(contenders[name].rate))
        for name in again:
            contender = contenders[name]
            if 2 * sum(kept(turn, contender.rate) for turn in turns[name]) <= len(turns[name]):
                contender.rate = int(contender.rate * STEP_DOWN)
                turns[name].clear()
    return turns


def _report(contenders: dict[str, Contender], turns: dict[str, list[Turn]], subscribers: int) -> list[Figure]:
    found: dict[str, dict[str, float]] = {}
    for name, contender in contenders.items():
        ones = turns[name]
        found[name] = {"rate": contender.rate if ones else 0} | {
            share: median(percentile(turn.latencies, at) for turn in ones) for share, at in SHARES.items()
        }
        print(f"  {name:<12}{_shown(contender.rate, ones)}; {contender.above}")
    mine, *others = contenders
    for other in others:
        if found[other]["rate"]:
            print(
                f"  {mine} by {other}: {found[mine]['rate'] / found[other]['rate']:.1f} times the changes/s"
            )
    units = {"rate": "changes/s", **dict.fromkeys(SHARES, "ms")}
    return [
        Figure(
            f"{subscribers:,} subscribers: {what}",
            found[mine][what],
            unit,
            {other: found[other][what] for other in others},
        )
        for what, unit in units.items()
    ]


def _shown(rate: int, turns: list[Turn]) -> str:
    if not turns:
        return "kept no rate"
    half, most = (median(percentile(turn.latencies, share) for turn in turns) for share in SHARES.values())
    cpu = ", ".join(
        f"{part} {statistics.median(turn.cpu[part] for turn in turns) * rate / 1e6:.0%}"
        for part in turns[0].cpu
    )
    return f"{rate:>6,} changes/s, p50 {half:6.2f} ms, p99 {most:6.2f} ms; of a core: {cpu}"
