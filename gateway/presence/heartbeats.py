"""Which nodes are known to be alive at this moment: each node beats twice a second, and others ask on demand.

An incarnation expires after many seconds only, so that a short silence has no consequences. But clients of a
killed node reconnect at once, and their earlier connections must not count against their limits. Heartbeats
decide nothing else: what a node has in Redis is its own until its incarnation has expired.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from gateway.presence.heartbeat_store import HeartbeatStore
from gateway.presence.node import Node
from gateway.presence.timings import DEFAULTS, PresenceTimings
from realtime.errors import Unavailable
from realtime.waiting.single_flight import SingleFlight
from realtime.waiting.survival import Part

ResultT = TypeVar("ResultT")

_part = Part("beats")


@dataclass(frozen=True, slots=True)
class Census:
    """Which other incarnations may be dead; all remaining ones have beaten after `at`, monotonic."""

    suspects: tuple[str, ...]
    at: float


class Heartbeats:
    """The beats of this node, and what it knows of the beats of other nodes."""

    def __init__(self, store: HeartbeatStore, node: Node, timings: PresenceTimings = DEFAULTS) -> None:
        self._store = store
        self._node = node
        self._timings = timings
        self._troubled_at = -math.inf  # monotonic, when this node last saw Redis unavailable or slow
        self._silent_since: dict[
            str, float
        ] = {}  # monotonic, when an incarnation was first seen without a beat
        self._census: SingleFlight[Census] = SingleFlight(timings.look_seconds)

    def __repr__(self) -> str:
        return f"<Heartbeats of {self._node.incarnation}, {len(self._silent_since)} silent>"

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            with _part.survives(), suppress(Unavailable):  # logged by the node at its renewal
                await self._beat()
            await asyncio.sleep(self._timings.beat_seconds)

    async def _beat(self) -> None:
        if not self._node.has_left:
            await self._timed(self._store.beat(self._node.incarnation, self._timings.silent_seconds))

    async def _timed(self, call: Awaitable[ResultT]) -> ResultT:
        """Await a call; note if Redis, or this node, was too busy for beats to come in time."""
        began_at = time.monotonic()
        try:
            result = await call
        except Unavailable:
            self._troubled_at = time.monotonic()
            raise
        if time.monotonic() - began_at > self._timings.slow_seconds:
            self._troubled_at = time.monotonic()
        return result

    async def census(self) -> Census:
        """Look at all nodes, or return the census of a moment ago; raises Unavailable."""
        return await self._census.get(self._look)

    async def _look(self) -> Census:
        began_at = time.monotonic()
        heartbeats = await self._timed(self._store.of_all())
        heartbeats.pop(self._node.incarnation, None)
        silent = [one for one, heartbeat in heartbeats.items() if not heartbeat.beat_seconds]
        now = time.monotonic()
        self._silent_since = {one: self._silent_since.get(one, now) for one in silent}
        suspects = [one for one in silent if not heartbeats[one].is_kept or self._is_dead(one, began_at)]
        # An incarnation that is silent, and may be alive, last beat at an unknown time.
        silences = [
            math.inf if one in silent else self._timings.silent_seconds - heartbeat.beat_seconds
            for one, heartbeat in heartbeats.items()
            if one not in suspects
        ]
        return Census(tuple(suspects), began_at - max(silences, default=-math.inf))

    def _is_dead(self, incarnation: str, now: float) -> bool:
        """Whether the node is dead; after Redis was unavailable, all nodes are silent for a moment."""
        was_calm = now - self._troubled_at > self._timings.return_seconds
        return was_calm or now - self._silent_since[incarnation] > self._timings.return_seconds
