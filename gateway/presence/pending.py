"""What Redis is told until it has it, within a bound: who came, who went, who is present.

Connections say what happened, whether Redis is there or not, and each thing is tried again until it is done.
When Redis has taken nothing for a while and too much is owed about clients that are gone, all of it is
forgotten: the node gives its life up, and what stands under it is cleaned up after as if the node had died.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway import metrics
from realtime.errors import ClientError, Code
from realtime.logs.setup import get_logger
from realtime.waiting.survival import Part

log = get_logger(__name__)

_part = Part("owed")

RETRY_SECONDS = 1.0
RETRIES_A_SECOND = 2_000  # of all that is owed
# About clients that are gone: some 2 KB each. What is owed about the others has its bound in their number.
MOST_OWED = 10_000
PATIENCE_SECONDS = 2.0  # that many may go at once, and Redis takes it

Put = Callable[[], "asyncio.Future[None] | None"]
Told = Callable[[], None]


def is_hopeless(told: asyncio.Future[None]) -> bool:
    """Whether it failed by a fault of ours, and so would fail again."""
    error = told.exception()
    return isinstance(error, ClientError) and error.code is Code.INTERNAL


def nothing() -> None:
    """What is left to be done, most often, when something was told."""


@dataclass(frozen=True, slots=True, eq=False)
class _Debt:
    """To be `put` until that succeeds, or returns None; then `told`."""

    put: Put
    told: Told
    of_the_gone: bool


class Pending:
    """All that a node owes to Redis under its present life; `give_up` begins another one."""

    def __init__(self, give_up: Callable[[], None]) -> None:
        self._give_up = give_up
        self._debts: set[_Debt] = set()
        self._of_the_gone = 0  # of these
        self._told_at = 0.0  # monotonic, when Redis took something last, or when it began to be owed anything
        self._has_given_up = False  # until a new life has begun nothing is owed
        self._all_told = asyncio.Event()  # nothing is owed, and nothing was forgotten
        self._all_told.set()

    def __repr__(self) -> str:
        return f"<Pending {len(self._debts)}, {self._of_the_gone} of them about the gone>"

    async def settle(self) -> None:
        """Wait until nothing is owed any more."""
        await self._all_told.wait()

    def owe(self, put: Put, told: Told = nothing, *, of_the_gone: bool = False) -> None:
        """Put something until Redis has it, or until it is nothing any more."""
        if self._has_given_up:
            told()
            return
        if not self._debts:
            self._told_at = time.monotonic()
        debt = _Debt(put, told, of_the_gone)
        self._debts.add(debt)
        self._count(of_the_gone)
        self._all_told.clear()
        self._try(debt)
        self._forget_all_if_too_much()

    def begin_anew(self) -> None:
        """Another life has begun, and whoever is here is told under it."""
        self._has_given_up = False
        if not self._debts:
            self._all_told.set()

    def _try(self, debt: _Debt) -> None:
        future = None
        with _part.survives():
            future = debt.put()
        if future is None:
            self._pay(debt)
            return

        def look(future: asyncio.Future[None]) -> None:
            if debt not in self._debts:
                return  # forgotten
            if future.cancelled() or (future.exception() is not None and not is_hopeless(future)):
                # However many are owed, in a long outage: to try must not keep the node from its clients.
                delay = max(RETRY_SECONDS, len(self._debts) / RETRIES_A_SECOND)
                asyncio.get_running_loop().call_later(delay, self._try_again, debt)
                self._forget_all_if_too_much()
            else:
                self._told_at = time.monotonic()
                self._pay(debt)

        future.add_done_callback(look)

    def _try_again(self, debt: _Debt) -> None:
        if debt in self._debts:
            self._try(debt)

    def _pay(self, debt: _Debt) -> None:
        self._debts.discard(debt)
        self._count(-debt.of_the_gone)
        if not self._debts:
            self._all_told.set()
        with _part.survives():
            debt.told()

    def _count(self, of_the_gone: int) -> None:
        self._of_the_gone += of_the_gone
        metrics.owed.set(len(self._debts))

    def _forget_all_if_too_much(self) -> None:
        if self._of_the_gone <= MOST_OWED or time.monotonic() - self._told_at <= PATIENCE_SECONDS:
            return
        log.warning("node_life_given_up", owed_count=len(self._debts))
        forgotten, self._debts = self._debts, set()
        self._count(-self._of_the_gone)
        self._has_given_up = True  # and all is told only under the next life
        for debt in forgotten:
            with _part.survives():
                debt.told()
        self._give_up()
