"""This node's life in the fleet, and what nodes know of each other.

A node renews its life in Redis. One that was away for too long finds its life run out: others have
cleaned up after it, or will, so it begins a new one and puts its people back. So it does when another Redis
reigns, which may have lost who came and who went, and when it owed more to Redis than it could remember. What
is left of the old life is cleaned up after.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from gateway.presence.store import People
from realtime.causes.sentence import why
from realtime.errors import Unavailable
from realtime.logs.setup import get_logger
from realtime.waiting.outage import Outage
from realtime.waiting.survival import Part

log = get_logger(__name__)

# Parts of presence_ttl_seconds, in which all must be over: the life itself, its renewal, the clean-up.
LIFE_PART = 0.7
RENEWAL_PART = 0.15
FORMER_LIVES = 3  # in which a Redis that goes back in time again may still have our people; reaped otherwise
SETTLE_SECONDS = 0.1  # in which changes of a node's figures are gathered into one report

_part = Part("life")


@dataclass(frozen=True, slots=True)
class NodeReport:
    """A node and what it serves; `connections` by project."""

    id: str
    started_at: str
    connections: dict[str, int]


class Node:
    """This process in the fleet."""

    def __init__(self, people: People, node_id: str, started_at: str, ttl_seconds: float) -> None:
        self._people = people
        self._ttl_seconds = ttl_seconds
        self._changed = asyncio.Event()  # there is something newer than the last report
        self._left = False  # has said goodbye
        self._is_given_up = False  # the present life: it is left to run out as soon as another one can begin
        self._reigns: frozenset[str] = frozenset()  # of Redis, under which the present life began
        self._number = 0  # of the present life
        self._begun = False  # Redis knows of it
        self._outage = Outage()  # what is news of why it was not renewed
        self.id = node_id
        self.started_at = started_at
        self.connections: Counter[str] = Counter()  # open WebSockets by project
        self.on_new_life: Callable[[], None] = lambda: None  # put everybody back
        self.on_renewed: Callable[[], None] = lambda: None  # the life goes on, and Redis answers

    def __repr__(self) -> str:
        return f"<Node {self.life}, {self.connections.total()} connections>"

    @property
    def life(self) -> str:
        """Under what name this node's people stand in Redis now."""
        return f"{self.id}-{self._number}"

    @property
    def lives_before(self) -> tuple[str, ...]:
        """Under what names some may stand there still."""
        return tuple(f"{self.id}-{n}" for n in range(self._number)[-FORMER_LIVES:])

    @property
    def has_left(self) -> bool:
        """Whether it has said goodbye."""
        return self._left

    def count(self, project_id: str, change: int) -> None:
        self.connections[project_id] += change
        self._changed.set()

    def give_life_up(self) -> None:
        """Begin another life when Redis is there: it has of this one what nobody can put right any more."""
        self._is_given_up = True
        self._changed.set()

    def report(self) -> NodeReport:
        return NodeReport(self.id, self.started_at, {p: n for p, n in self.connections.items() if n})

    async def live(self) -> None:
        """Keep this node's life, and report soon after a change, until cancelled."""
        while not self._left:
            self._changed.clear()
            with _part.survives():
                await self._go_on()
            await asyncio.sleep(min(SETTLE_SECONDS, RENEWAL_PART * self._ttl_seconds))
            await self._wait_for_change()

    async def _go_on(self) -> None:
        try:
            if not self._begun:
                self._reigns = await self._people.begin_life(self.life, self.report(), self._life_seconds)
                self._begun = True
            elif not self._is_given_up and await self._renew():
                self.on_renewed()
            elif not self._left:  # else it was buried meanwhile
                await self._begin_anew()
        except Unavailable as error:
            if self._outage.is_news(why(error), time.monotonic()):
                log.warning("node_not_renewed", error=why(error))

    async def _renew(self) -> bool:
        return await self._people.renew_life(self.life, self.report(), self._life_seconds, self._reigns)

    async def _begin_anew(self) -> None:
        life = f"{self.id}-{self._number + 1}"
        log.warning("node_life_begun_anew", life=life)
        self._reigns = await self._people.begin_life(life, self.report(), self._life_seconds)
        # In one step: nobody may come or go between the new name and the move to it.
        self._number += 1
        self._is_given_up = False
        self.on_new_life()

    @property
    def _life_seconds(self) -> float:
        return LIFE_PART * self._ttl_seconds

    async def _wait_for_change(self) -> None:
        try:
            async with asyncio.timeout(RENEWAL_PART * self._ttl_seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def all_reports(self) -> list[NodeReport]:
        """Return the reports of all living nodes, this one's as it is now; raises Unavailable."""
        reports = [self.report()]
        for life, raw in (await self._people.lives()).items():
            if raw is not None and life != self.life:
                with suppress(msgspec.ValidationError):  # of a node of another version
                    reports.append(msgspec.convert(raw, NodeReport))
        return reports

    async def dead_lives(self) -> list[str]:
        """Return the lives that ran out and were not cleaned up after."""
        return [
            life for life, raw in (await self._people.lives()).items() if raw is None and life != self.life
        ]

    async def leave_fleet(self) -> None:
        """Say goodbye: nobody has to clean up after a node that left nothing behind."""
        self._left = True
        try:
            await self._people.bury(self.life)
        except Unavailable as error:
            log.warning("goodbye_failed", error=why(error))
