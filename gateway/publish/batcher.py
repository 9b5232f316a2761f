"""Sends many small writes to Redis in few round trips: items that come during one round trip share the next.

Broadcasts, presence and the connection log each have their own batcher, which keeps the order of its items.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from gateway import metrics
from realtime.errors import ClientError, Unavailable
from realtime.waiting.survival import Part, internal

ItemT = TypeVar("ItemT")
Outcomes = Sequence[ClientError | None]
Call = Callable[[], Awaitable[Outcomes | None]]

MAX_GATHERED = 1_000  # items in one round trip
MAX_WAITING = 100_000  # beyond it items are refused; a connection has one waiting, or leaves one behind

_part = Part("gatherer")


class Batcher(Generic[ItemT]):
    """Sends items in order.

    `prepare` gets a list of items and returns the call that sends them. The call sends all items or raises
    ClientError; or it returns an outcome for each item, None if the item was sent.

    If `prepare` raises another error, nothing was sent. Then one item is at fault: the batcher finds it by
    halving the list, and only this item fails, as `internal`. The same holds for calls that may be sent again
    (`repeatable`). Any other call that raises may have been carried out in part, so all its items fail.
    """

    def __init__(self, prepare: Callable[[list[ItemT]], Call], *, repeatable: bool = False) -> None:
        self._prepare = prepare
        self._repeatable = repeatable
        self._waiting: list[tuple[ItemT, asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._last: asyncio.Future[None] | None = None  # of the item that was put last

    def __repr__(self) -> str:
        return f"<Batcher {len(self._waiting)} waiting>"

    def put(self, item: ItemT) -> asyncio.Future[None]:
        """Queue an item now; the future is done when the item was sent, or holds the error."""
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
        """Wait until all items that were put before now have been sent or refused."""
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
        is_begun = False
        try:
            call = self._prepare([item for item, _ in taken])
            is_begun = True
            outcomes = await call() or [None] * len(taken)
            if len(outcomes) != len(taken):
                raise ValueError(f"{len(outcomes)} outcomes of {len(taken)} items")
        except ClientError as error:
            outcomes = [error] * len(taken)
        except Exception as error:
            if len(taken) > 1 and (self._repeatable or not is_begun):
                middle = len(taken) // 2
                await self._send_all(taken[:middle])
                await self._send_all(taken[middle:])
                return
            _part.note(error)
            outcomes = [internal()] * len(taken)
        _set_outcomes(taken, outcomes)


def _set_outcomes(taken: list[tuple[ItemT, asyncio.Future[None]]], outcomes: Outcomes) -> None:
    if any(isinstance(outcome, Unavailable) for outcome in outcomes):
        metrics.redis_failures.inc()
    for (_, future), outcome in zip(taken, outcomes, strict=True):
        if future.done():
            continue
        if outcome is None:
            future.set_result(None)
        else:
            future.set_exception(outcome)


def _seen(future: asyncio.Future[None]) -> None:
    """Mark the error as retrieved: asyncio must not log it if no task waits for the item."""
    if not future.cancelled():
        future.exception()
