"""Keeps what a node holds for its clients within a memory budget, and reports it as metrics.

The guard checks all connections a few times a second, or less often if there are many: nothing is counted for
each message. Over the budget it drops what can be read again, and then closes the clients that are furthest
behind.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from gateway import metrics
from gateway.hub.hub import Hub
from gateway.hub.replay_cache import ReplayBudget
from gateway.memory.allocator import Trimmer, find_trim
from gateway.memory.answers import Answer, Answers
from gateway.memory.budget import PRESENCE_SHARE, Count, Debtor, ReadRates
from gateway.presence.writer import PresenceWriter
from gateway.publish.publisher import BroadcastPublisher
from gateway.websocket.connection import Connection
from gateway.wire.send_queue import SendQueue
from realtime.logs.setup import get_logger
from realtime.waiting.survival import Part

log = get_logger(__name__)

_part = Part("memory")

LOOK_SECONDS = 0.25  # between two checks, at least
LOOK_SHARE = 0.02  # of the time, at most, for checks; they come less often if they take more
MOST_SECONDS = 1.0  # between two checks, at most
LEAST_SHARE = 4  # divisor of the budget: this part is left for all else, however large rosters are
TURN_ITEMS = 5_000  # connections and pieces counted before other tasks run


class Waiting(Protocol):
    """A client or answer that the guard may close."""

    @property
    def taken_bytes(self) -> int: ...

    def part_slow(self) -> None:
        """Close it, since more waits for it than the node has room for."""


@dataclass(frozen=True, slots=True)
class Holders:
    """All parts of a node that hold bytes for clients."""

    connections: Collection[Connection]
    answers: Answers
    hub: Hub[SendQueue]
    replays: ReplayBudget
    publisher: BroadcastPublisher
    presence: PresenceWriter


class MemoryGuard:
    """Counts the bytes held for clients, and closes clients that are too far behind."""

    def __init__(self, budget_bytes: int, holders: Holders) -> None:
        self._budget = budget_bytes
        self._holders = holders
        self._rates: ReadRates[Waiting] = ReadRates()
        self._trimmer = Trimmer(find_trim())
        self._roster_bytes = 0  # of all presence topics, at the last check
        self._counted = 0  # items since other tasks last ran
        metrics.queue_budget_bytes.set(budget_bytes)

    def __repr__(self) -> str:
        return f"<MemoryGuard of {self._budget} bytes>"

    async def run(self) -> None:
        """Keep the node within the budget until cancelled."""
        while True:
            began = time.monotonic()
            await self.look()
            took = time.monotonic() - began
            await asyncio.sleep(min(MOST_SECONDS, max(LOOK_SECONDS, took / LOOK_SHARE)))

    async def look(self) -> None:
        """Count once, close clients if needed, and set the metrics."""
        count = await self._count()
        if count.total > self._most_bytes:
            self._give_up_what_can_be_read_again()
            count = await self._count()
        if count.total > self._most_bytes:
            self._part_from_some(count)
        self._rates.forget_others()
        self._trimmer.look(count.total, time.monotonic())
        metrics.queue_bytes.set(count.total)
        metrics.largest_queue_bytes.set(count.largest)

    @property
    def _most_bytes(self) -> int:
        """The budget, or more if rosters leave too little of it: closing clients frees no roster."""
        return max(self._budget, self._roster_bytes + self._budget // LEAST_SHARE)

    def _give_up_what_can_be_read_again(self) -> None:
        self._holders.replays.clear()
        self._holders.hub.shed()

    def _part_from_some(self, count: Count[Waiting]) -> None:
        waiting = count.total
        parted = list(count.to_close(self._most_bytes))
        log.warning(
            "queue_budget_exceeded",
            waiting_bytes=waiting,
            budget_bytes=self._budget,
            closed_count=len(parted),
        )
        for one in parted:
            with _part.survives():
                one.part_slow()

    async def _count(self) -> Count[Waiting]:
        holders = self._holders
        count: Count[Waiting] = Count()
        self._count_replays(count, holders.replays)
        presence_bytes = 0
        for connection in list(holders.connections):
            try:
                presence_bytes += connection.session.presence_bytes
                self._count_connection(count, connection)
            except Exception as error:  # its transport may be unusable by now
                connection.fail(error)
            self._counted += 1 + connection.send_queue.piece_count
            if self._counted > TURN_ITEMS:
                self._counted = 0
                await asyncio.sleep(0)
        for answer in list(holders.answers):
            with _part.survives():  # its transport may be unusable by now
                count.add(self._debtor_of(answer))
        holders.presence.is_full = presence_bytes > self._budget // PRESENCE_SHARE
        self._roster_bytes = holders.hub.roster_bytes
        count.total += presence_bytes + holders.hub.held_bytes + self._roster_bytes
        count.total += holders.publisher.waiting_bytes + holders.answers.being_built_bytes
        return count

    def _debtor_of(self, answer: Answer) -> Debtor[Waiting]:
        now = time.monotonic()
        rate = self._rates.look(answer, answer.taken_bytes, now)
        rate = answer.first_rate(now) if rate is None else rate
        return Debtor(answer, answer.own_bytes, [answer.body], answer.unsent_bytes, rate)

    def _count_replays(self, count: Count[Waiting], replays: ReplayBudget) -> None:
        shared = [piece for page in replays for piece in page.pieces]
        count.add_pieces(shared)
        count.total += replays.used - sum(map(len, shared))

    def _count_connection(self, count: Count[Waiting], connection: Connection) -> None:
        queue, own = connection.send_queue, connection.own_bytes
        if own or queue.piece_count:
            rate = self._rates.look(queue, queue.taken_bytes, time.monotonic())
            count.add(Debtor(queue, own, list(queue.pieces), queue.queued_bytes, rate))
