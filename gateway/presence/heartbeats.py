"""Which nodes are known to be alive at this moment: each beats twice a second, and whoever has to know asks.

An incarnation expires after many seconds only, so that a short silence has no consequences. But clients of a
node that was killed come back at once, and their earlier connections must not take their places. Nothing else
follows from a beat: what a node has in Redis is its own until its incarnation has expired.
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
from realtime.errors import Unavailable
from realtime.waiting.single_flight import SingleFlight
from realtime.waiting.survival import Part

ResultT = TypeVar("ResultT")

BEAT_SECONDS = 0.5
SILENT_SECONDS = 2.0  # without a beat, after which a node is not known to be alive
SLOW_SECONDS = 1.0  # of an answer of Redis, after which the beats of all nodes may be late
RETURN_SECONDS = 1.0  # after which all who live have beaten again when Redis is there again
LOOK_SECONDS = 0.2  # between two looks at all nodes; whoever asks meanwhile shares one

_part = Part("beats")


@dataclass(frozen=True, slots=True)
class Census:
    """Which other incarnations may be dead; all others beat after the moment `at`, monotonic."""

    suspects: tuple[str, ...]
    at: float


class Heartbeats:
    """The beat of this node, and what it knows of the others'."""

    def __init__(self, store: HeartbeatStore, node: Node) -> None:
        self._store = store
        self._node = node
        self._troubled_at = -math.inf  # monotonic, when Redis last was away or slow, as far as is known here
        self._silent_since: dict[
            str, float
        ] = {}  # likewise, when an incarnation was first seen without a beat
        self._census: SingleFlight[Census] = SingleFlight(LOOK_SECONDS)

    def __repr__(self) -> str:
        return f"<Heartbeats of {self._node.incarnation}, {len(self._silent_since)} silent>"

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            with _part.survives(), suppress(Unavailable):  # which the node logs when it renews itself
                await self._beat()
            await asyncio.sleep(BEAT_SECONDS)

    async def _beat(self) -> None:
        if not self._node.has_left:
            await self._timed(self._store.beat(self._node.incarnation, SILENT_SECONDS))

    async def _timed(self, call: Awaitable[ResultT]) -> ResultT:
        """Note when Redis, or this node, was too busy for beats to come in time."""
        began_at = time.monotonic()
        try:
            result = await call
        except Unavailable:
            self._troubled_at = time.monotonic()
            raise
        if time.monotonic() - began_at > SLOW_SECONDS:
            self._troubled_at = time.monotonic()
        return result

    async def census(self) -> Census:
        """Look at all nodes, or return what was seen just now; raises Unavailable."""
        return await self._census.get(self._look)

    async def _look(self) -> Census:
        began_at = time.monotonic()
        heartbeats = await self._timed(self._store.of_all())
        heartbeats.pop(self._node.incarnation, None)
        silent = [one for one, heartbeat in heartbeats.items() if not heartbeat.beat_seconds]
        now = time.monotonic()
        self._silent_since = {one: self._silent_since.get(one, now) for one in silent}
        suspects = [one for one in silent if not heartbeats[one].is_kept or self._is_dead(one, began_at)]
        # One that is silent, and may be alive, has beaten nobody knows when.
        silences = [
            math.inf if one in silent else SILENT_SECONDS - heartbeat.beat_seconds
            for one, heartbeat in heartbeats.items()
            if one not in suspects
        ]
        return Census(tuple(suspects), began_at - max(silences, default=-math.inf))

    def _is_dead(self, incarnation: str, now: float) -> bool:
        """Whether a silence is that of one node: where Redis was away, all were silent for a moment."""
        was_calm = now - self._troubled_at > RETURN_SECONDS
        return was_calm or now - self._silent_since[incarnation] > RETURN_SECONDS
