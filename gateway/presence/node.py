"""This node's incarnation in the fleet, and what nodes know of each other.

A node renews its incarnation in Redis. A node that was away for too long finds that its incarnation has
expired: others have cleaned up after it, or will. So the node begins a new incarnation and restores its
clients. It does the same when Redis has another replid, since that Redis may have lost who came and who went,
and when more writes were pending than the node could remember. Others clean up after the old incarnation.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from gateway.presence.node_store import NodeStore
from realtime.causes.sentence import why
from realtime.errors import Unavailable
from realtime.logs.setup import get_logger
from realtime.waiting.outage import Outage
from realtime.waiting.survival import Part

log = get_logger(__name__)

# Parts of presence_ttl_seconds, in which all must be over: the incarnation itself, its renewal, the cleanup.
LEASE_PART = 0.7
RENEWAL_PART = 0.15
EARLIER_INCARNATIONS = 3  # that a Redis which lost writes may still have; the cleanup removes others
SETTLE_SECONDS = 0.1  # in which changes of a node's counts are gathered into one report

_part = Part("life")


@dataclass(frozen=True, slots=True)
class NodeReport:
    """A node and what it serves; `connections` by project."""

    id: str
    started_at: str
    connections: dict[str, int]


class Node:
    """This process in the fleet."""

    def __init__(self, nodes: NodeStore, node_id: str, started_at: str, ttl_seconds: float) -> None:
        self._nodes = nodes
        self._ttl_seconds = ttl_seconds
        self._changed = asyncio.Event()  # there is something newer than the last report
        self._left = False  # has left the fleet
        self._is_given_up = False  # this incarnation is left to expire as soon as another one can begin
        self._replids: frozenset[str] = frozenset()  # of Redis, under which this incarnation began
        self._number = 0  # of this incarnation
        self._begun = False  # Redis knows this incarnation
        self._outage = Outage()  # which causes of failed renewals are news
        self.id = node_id
        self.started_at = started_at
        self.connections: Counter[str] = Counter()  # open WebSockets by project
        self.on_new_incarnation: Callable[[], None] = lambda: None  # restore all clients
        self.on_renewed: Callable[[], None] = lambda: None  # the incarnation lives, and Redis answers

    def __repr__(self) -> str:
        return f"<Node {self.incarnation}, {self.connections.total()} connections>"

    @property
    def incarnation(self) -> str:
        """The name under which Redis has this node's clients now."""
        return f"{self.id}-{self._number}"

    @property
    def earlier(self) -> tuple[str, ...]:
        """The earlier incarnations, under which Redis may still have some of this node's clients."""
        return tuple(f"{self.id}-{n}" for n in range(self._number)[-EARLIER_INCARNATIONS:])

    @property
    def has_left(self) -> bool:
        """Whether this node has left the fleet."""
        return self._left

    def count(self, project_id: str, change: int) -> None:
        self.connections[project_id] += change
        self._changed.set()

    def give_up(self) -> None:
        """Begin another incarnation when Redis is available: Redis's data of this one cannot be repaired."""
        self._is_given_up = True
        self._changed.set()

    def report(self) -> NodeReport:
        return NodeReport(self.id, self.started_at, {p: n for p, n in self.connections.items() if n})

    async def live(self) -> None:
        """Keep this node's incarnation alive, and report soon after a change, until cancelled."""
        while not self._left:
            self._changed.clear()
            with _part.survives():
                await self._go_on()
            await asyncio.sleep(min(SETTLE_SECONDS, RENEWAL_PART * self._ttl_seconds))
            await self._wait_for_change()

    async def _go_on(self) -> None:
        try:
            if not self._begun:
                self._replids = await self._nodes.begin(self.incarnation, self.report(), self._lease_seconds)
                self._begun = True
            elif not self._is_given_up and await self._renew():
                self.on_renewed()
            elif not self._left:  # else this node deleted it meanwhile
                await self._begin_anew()
        except Unavailable as error:
            if self._outage.is_news(why(error), time.monotonic()):
                log.warning("node_not_renewed", error=why(error))

    async def _renew(self) -> bool:
        return await self._nodes.renew(self.incarnation, self.report(), self._lease_seconds, self._replids)

    async def _begin_anew(self) -> None:
        next_one = f"{self.id}-{self._number + 1}"
        log.warning("node_life_begun_anew", life=next_one)
        self._replids = await self._nodes.begin(next_one, self.report(), self._lease_seconds)
        # No await: no client may come or go between the new name and the move to it.
        self._number += 1
        self._is_given_up = False
        self.on_new_incarnation()

    @property
    def _lease_seconds(self) -> float:
        return LEASE_PART * self._ttl_seconds

    async def _wait_for_change(self) -> None:
        try:
            async with asyncio.timeout(RENEWAL_PART * self._ttl_seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def all_reports(self) -> list[NodeReport]:
        """Return the reports of all living nodes, this node's as of now; raises Unavailable."""
        reports = [self.report()]
        for incarnation, raw in (await self._nodes.all()).items():
            if raw is not None and incarnation != self.incarnation:
                with suppress(msgspec.ValidationError):  # of a node of another version
                    reports.append(msgspec.convert(raw, NodeReport))
        return reports

    async def dead_incarnations(self) -> list[str]:
        """Return the incarnations that expired and were not cleaned up."""
        known = await self._nodes.all()
        return [one for one, raw in known.items() if raw is None and one != self.incarnation]

    async def leave_fleet(self) -> None:
        """Leave the fleet: no other node has to clean up after a node that left nothing behind."""
        self._left = True
        try:
            await self._nodes.delete(self.incarnation)
        except Unavailable as error:
            log.warning("goodbye_failed", error=why(error))
