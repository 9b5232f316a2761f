"""Many small writes to Redis as few round trips: what comes while one is under way goes with the next.

Broadcasts, presence and the registry of connections each have one, so that each keeps its order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from gateway import metrics
from realtime.errors import ClientError, Unavailable

ItemT = TypeVar("ItemT")
Outcomes = Sequence[ClientError | None]

MAX_GATHERED = 1_000  # items of one round trip
MAX_WAITING = 100_000  # beyond it nothing is taken; a connection has one item waiting, or leaves one behind


class Gatherer(Generic[ItemT]):
    """Sends items in order.

    `send` gets a list of them, and does all or raises ClientError; or it returns what became of each, None
    where it was done.
    """

    def __init__(self, send: Callable[[list[ItemT]], Awaitable[Outcomes | None]]) -> None:
        self._send = send
        self._waiting: list[tuple[ItemT, asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._last: asyncio.Future[None] | None = None  # of what was put last

    def __repr__(self) -> str:
        return f"<Gatherer {len(self._waiting)} waiting>"

    def put(self, item: ItemT) -> asyncio.Future[None]:
        """Queue an item now; the future tells when it has been sent, or why not."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if len(self._waiting) >= MAX_WAITING:
            future.set_exception(Unavailable("this node has too much to tell Redis"))
        else:
            self._waiting.append((item, future))
            self._wake.set()
            self._last = future
        future.add_done_callback(_seen)
        return future

    async def settle(self) -> None:
        """Wait until what was put before now has been sent, or refused."""
        if self._last is not None:
            await asyncio.wait([self._last])

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._wake.wait()
            taken, self._waiting = self._waiting[:MAX_GATHERED], self._waiting[MAX_GATHERED:]
            if not self._waiting:
                self._wake.clear()
            await self._send_all(taken)

    async def _send_all(self, taken: list[tuple[ItemT, asyncio.Future[None]]]) -> None:
        try:
            outcomes = await self._send([item for item, _ in taken]) or [None] * len(taken)
        except ClientError as error:
            outcomes = [error] * len(taken)
        if any(outcomes):
            metrics.redis_failures.inc()
        for (_, future), outcome in zip(taken, outcomes, strict=True):
            if future.done():
                continue
            if outcome is None:
                future.set_result(None)
            else:
                future.set_exception(outcome)


def _seen(future: asyncio.Future[None]) -> None:
    """Nobody has to wait for an item; then its failure is nobody's news."""
    if not future.cancelled():
        future.exception()
