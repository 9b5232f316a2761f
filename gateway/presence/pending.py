"""Writes that Redis has not acknowledged yet, within a bound: connects, disconnects and presences.

Connections add a write even if Redis is not available, and each write is retried until Redis acknowledges it.
When Redis has acknowledged nothing for a while and too many writes about clients that are gone are pending,
all are dropped: the node gives its incarnation up, and others clean up after it as if the node had died.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway import metrics
from gateway.presence.timings import DEFAULTS, PresenceTimings
from realtime.errors import ClientError, Code
from realtime.logs.setup import get_logger
from realtime.waiting.survival import Part

log = get_logger(__name__)

_part = Part("owed")

Put = Callable[[], "asyncio.Future[None] | None"]
Acknowledged = Callable[[], None]


def may_succeed_later(write: asyncio.Future[None]) -> bool:
    """Whether a write that is done failed, and not by a fault of this program, which would repeat itself."""
    if write.cancelled():
        return True
    error = write.exception()
    is_fault = isinstance(error, ClientError) and error.code is Code.INTERNAL
    return error is not None and not is_fault


def nothing() -> None:
    """Do nothing when a write was acknowledged: the usual case."""


@dataclass(frozen=True, slots=True, eq=False)
class _Write:
    """A write: `put` is called until it succeeds or returns None, then `acknowledged` is called."""

    put: Put
    acknowledged: Acknowledged
    of_the_gone: bool


class Pending:
    """All pending writes of a node's incarnation; `give_up` begins another one."""

    def __init__(self, give_up: Callable[[], None], timings: PresenceTimings = DEFAULTS) -> None:
        self._give_up = give_up
        self._timings = timings
        self._writes: set[_Write] = set()
        self._of_the_gone = 0  # writes about clients that are gone
        self._acknowledged_at = 0.0  # monotonic, when Redis last acknowledged, or the first write was added
        self._has_given_up = False  # nothing is pending until a new incarnation has begun
        self._all_acknowledged = asyncio.Event()  # nothing is pending, and nothing was dropped
        self._all_acknowledged.set()

    def __repr__(self) -> str:
        return f"<Pending {len(self._writes)}, {self._of_the_gone} of them about the gone>"

    async def settle(self) -> None:
        """Wait until nothing is pending any more."""
        await self._all_acknowledged.wait()

    def add(self, put: Put, acknowledged: Acknowledged = nothing, *, of_the_gone: bool = False) -> None:
        """Retry `put` until Redis has acknowledged the write, or until `put` returns None."""
        if self._has_given_up:
            acknowledged()
            return
        if not self._writes:
            self._acknowledged_at = time.monotonic()
        write = _Write(put, acknowledged, of_the_gone)
        self._writes.add(write)
        self._count(of_the_gone)
        self._all_acknowledged.clear()
        self._try(write)
        self._drop_all_if_too_many()

    def begin_anew(self) -> None:
        """Accept writes again, under a new incarnation: open connections are written again under it."""
        self._has_given_up = False
        if not self._writes:
            self._all_acknowledged.set()

    def _try(self, write: _Write) -> None:
        future = None
        with _part.survives():
            future = write.put()
        if future is None:
            self._finish(write)
            return

        def look(future: asyncio.Future[None]) -> None:
            if write not in self._writes:
                return  # dropped
            if may_succeed_later(future):
                # In a long outage many writes are pending: retries must not keep the node from its clients.
                delay = max(self._timings.retry_seconds, len(self._writes) / self._timings.retries_a_second)
                asyncio.get_running_loop().call_later(delay, self._try_again, write)
                self._drop_all_if_too_many()
            else:
                self._acknowledged_at = time.monotonic()
                self._finish(write)

        future.add_done_callback(look)

    def _try_again(self, write: _Write) -> None:
        if write in self._writes:
            self._try(write)

    def _finish(self, write: _Write) -> None:
        self._writes.discard(write)
        self._count(-write.of_the_gone)
        if not self._writes:
            self._all_acknowledged.set()
        with _part.survives():
            write.acknowledged()

    def _count(self, of_the_gone: int) -> None:
        self._of_the_gone += of_the_gone
        metrics.owed.set(len(self._writes))

    def _drop_all_if_too_many(self) -> None:
        silence = time.monotonic() - self._acknowledged_at
        if self._of_the_gone <= self._timings.most_pending or silence <= self._timings.patience_seconds:
            return
        log.warning("node_life_given_up", owed_count=len(self._writes))
        dropped, self._writes = self._writes, set()
        self._count(-self._of_the_gone)
        self._has_given_up = True  # no write is kept until the next incarnation has begun
        for write in dropped:
            with _part.survives():
                write.acknowledged()
        self._give_up()
