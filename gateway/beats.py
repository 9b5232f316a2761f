"""Which nodes are known to be alive at this moment: each tells it twice a second, and who has to know asks.

A node's life runs out after many seconds only, so that a short silence has no consequences. But clients of a
node that was killed come back at once, and their places must not be taken by what they were there. Nothing
else follows from a beat: what a node has is its own until its life has run out.
"""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from dataclasses import dataclass

from gateway.nodes import Node
from gateway.recent import Recent
from realtime.errors import Unavailable
from realtime.pulses import Pulse, Pulses
from realtime.waiting.survival import Part

BEAT_SECONDS = 0.5
SILENT_SECONDS = 2.0  # without a beat, after which a node is not known to be alive
LOOK_SECONDS = 0.2  # between two looks at all nodes; whoever asks meanwhile shares one

_part = Part("beats")


@dataclass(frozen=True, slots=True)
class Census:
    """Which other lives are not known to be alive; all others beat after the moment `at`, monotonic."""

    suspects: tuple[str, ...]
    at: float


class Beats:
    """The beat of this node, and what it knows of the others'."""

    def __init__(self, pulses: Pulses, node: Node) -> None:
        self._pulses = pulses
        self._node = node
        self._beat_at = -math.inf  # monotonic, the last time
        self._steady_since = math.inf  # likewise, since when no beat came so late that others saw it
        self._census: Recent[Census] = Recent(LOOK_SECONDS)

    def __repr__(self) -> str:
        return f"<Beats of {self._node.life}>"

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            with _part.survives(), suppress(Unavailable):  # which the life of the node tells
                await self._beat()
            await asyncio.sleep(BEAT_SECONDS)

    async def _beat(self) -> None:
        if self._node.has_left:
            return
        await self._pulses.beat(self._node.life, SILENT_SECONDS)
        now = time.monotonic()
        if now - self._beat_at > SILENT_SECONDS:
            self._steady_since = now
        self._beat_at = now

    async def census(self) -> Census:
        """Look at all nodes, or return what was seen just now; raises Unavailable."""
        return await self._census.get(self._look)

    async def _look(self) -> Census:
        began_at, own = time.monotonic(), self._node.life
        pulses = {life: pulse for life, pulse in (await self._pulses.of_all()).items() if life != own}
        # Redis itself may have been away: then nobody's beat is there, and everybody is alive.
        can_tell = began_at - self._steady_since > SILENT_SECONDS
        suspects = [life for life, pulse in pulses.items() if _is_suspect(pulse, can_tell)]
        silences = [
            SILENT_SECONDS - pulse.beat_seconds for life, pulse in pulses.items() if life not in suspects
        ]
        return Census(tuple(suspects), began_at - max(silences, default=-math.inf))


def _is_suspect(pulse: Pulse, can_tell: bool) -> bool:
    return not pulse.is_kept or (can_tell and not pulse.beat_seconds)
