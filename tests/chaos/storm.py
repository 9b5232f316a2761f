"""Start faults that are drawn from a bag: one after the other, sometimes two at once, with calm between them.

The bag holds each kind once, so that each kind comes before any kind comes again. At the end all faults have
ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from random import Random

from tests.chaos.fault import Draw, Fault
from tests.chaos.stage import Stage

TWO_AT_ONCE = 0.2  # how often a second fault starts during a fault
LONG_CALM = 0.2  # how often it is calm for long enough that everything settles


@dataclass(frozen=True, slots=True)
class Calms:
    """How long it is calm between two faults, in seconds, as ranges of the shortest and the longest calm."""

    first: float = 2.0  # before the first fault
    short: tuple[float, float] = (0.5, 4.0)
    long: tuple[float, float] = (6.0, 10.0)  # longer than a frozen node takes to store its clients again


CALMS = Calms()


def matching(patterns: list[str], kinds: Mapping[str, Draw]) -> dict[str, Draw]:
    """Return the kinds that one of the patterns names; raises ValueError for a pattern that names none."""
    for pattern in patterns:
        if not any(fnmatch(kind, pattern) for kind in kinds):
            raise ValueError(f"no kind of fault is called {pattern}; there are {', '.join(kinds)}")
    return {kind: kinds[kind] for kind in kinds if any(fnmatch(kind, pattern) for pattern in patterns)}


@dataclass
class Storm:
    """The faults of one run; `on_fault` gets the kind and the description of each fault when it starts."""

    stage: Stage
    seed: int
    kinds: Mapping[str, Draw]
    on_fault: Callable[[str, str], None]
    calms: Calms = CALMS

    def __post_init__(self) -> None:
        self._dice = Random(f"{self.seed} storm")
        self._bag: list[str] = []  # kinds that are still in the bag
        self._waiting: list[tuple[str, Fault]] = []  # drawn, but postponed until it may strike
        self._number = 0  # of the fault drawn last

    async def blow(self, seconds: float, at_least: int = 0) -> None:
        """Start faults for this time, and at least this number; the last fault ends a little later."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        await self.stage.database.dump()
        async with asyncio.TaskGroup() as tasks:
            dumping = self.stage.database.keep_dumping(Random(f"{self.seed} dumps"))
            dumps = tasks.create_task(dumping, name="dumps")
            await asyncio.sleep(self.calms.first)
            while loop.time() < end or self._number - len(self._waiting) < at_least:
                await self._strike()
                is_long = self._dice.random() < LONG_CALM
                await asyncio.sleep(self._dice.uniform(*(self.calms.long if is_long else self.calms.short)))
            dumps.cancel()

    async def _strike(self) -> None:
        """Carry out one fault, or two that concern different parts."""
        faults = [self._waiting.pop() if self._waiting else self._draw()]
        if self._dice.random() < TWO_AT_ONCE:
            other = self._draw()
            (self._waiting if other[1].parts & faults[0][1].parts else faults).append(other)
        later = self._dice.uniform(0, 2)
        async with asyncio.TaskGroup() as tasks:
            for number, (kind, fault) in enumerate(faults):
                tasks.create_task(self._carry_out(kind, fault, number * later), name=kind)

    def _draw(self) -> tuple[str, Fault]:
        if not self._bag:
            self._bag = list(self.kinds)
            self._dice.shuffle(self._bag)
        kind = self._bag.pop()
        self._number += 1
        return kind, self.kinds[kind](self.stage, Random(f"{self.seed} fault {self._number}"))

    async def _carry_out(self, kind: str, fault: Fault, delay: float) -> None:
        await asyncio.sleep(delay)
        self.on_fault(kind, fault.words)
        await fault.carry_out()
