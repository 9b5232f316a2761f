"""The door to Redis for which nodes are alive at this moment.

A node beats by a key that is gone a moment later. Asked by gateways that have to know; a life is known by the
same name as in `people`, and nothing is done to it here.
"""

from __future__ import annotations

from dataclasses import dataclass

from realtime import names
from realtime.redis.client import Command, Store


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What Redis knows of a life: whether it has run out, and for how many seconds its last beat is good."""

    is_kept: bool
    beat_seconds: float


class HeartbeatStore:
    """The beats of all nodes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def beat(self, life: str, ttl_seconds: float) -> None:
        """Let others know, for so long, that a life goes on."""
        await self._store.call("SET", names.node_beat(life), b"", "PX", int(ttl_seconds * 1000))

    async def of_all(self) -> dict[str, Heartbeat]:
        """Tell of every life that was not cleaned up after whether it is known to go on."""
        known = await self._store.call("SMEMBERS", names.nodes())
        lives = sorted(life.decode(errors="replace") for life in known)
        node_keys = [name for life in lives for name in (names.node(life), names.node_beat(life))]
        answers = await self._store.call_many([Command(name, ("PTTL", name)) for name in node_keys])
        pairs = zip(answers[::2], answers[1::2], strict=True)
        return {
            life: Heartbeat(life_ms >= 0, max(0, beat_ms) / 1000)
            for life, (life_ms, beat_ms) in zip(lives, pairs, strict=True)
        }
