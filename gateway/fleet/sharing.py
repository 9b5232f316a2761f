"""Work that many may ask for at once: few pieces run at a time, and all who wait for equal work share it.

Nobody gets an answer that was begun before the question: a client that just connected is on the list.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from functools import partial
from typing import Any

from realtime.errors import Unavailable
from realtime.waiting.single_flight import SingleFlight, Work

AT_ONCE = 4  # pieces of work of a node
TURN_SECONDS = 5.0  # that one may wait before it begins


class Sharing:
    """Shared work, by what was asked for."""

    def __init__(self, turn_seconds: float = TURN_SECONDS) -> None:
        self._turn_seconds = turn_seconds
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._next: dict[Hashable, SingleFlight[Any]] = {}  # not begun yet: all who ask share it

    def __repr__(self) -> str:
        return f"<Sharing {len(self._next)} wait for their turn>"

    async def get(self, key: Hashable, work: Work[Any]) -> Any:
        """Return what the work returns, or raise what it raises; raises Unavailable if too many wait."""
        if (flight := self._next.get(key)) is None:
            flight = self._next[key] = SingleFlight(name="ask the nodes")
        return await flight.get(partial(self._in_turn, key, work))

    async def _in_turn(self, key: Hashable, work: Work[Any]) -> Any:
        try:
            async with asyncio.timeout(self._turn_seconds):
                await self._turns.acquire()
        except TimeoutError as error:
            raise Unavailable("too many ask this node about the others; try again later") from error
        finally:
            del self._next[key]
        try:
            return await work()
        finally:
            self._turns.release()
