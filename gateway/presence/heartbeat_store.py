"""The door to Redis for which nodes are alive at this moment.

A node beats by a key that expires a moment later. Gateways that have to know ask here; an incarnation has the
same name as in `node_store`, and this store changes nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from realtime import names
from realtime.redis.client import Command, Store


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What Redis knows of an incarnation: whether it is kept, and for how many seconds its beat is good."""

    is_kept: bool
    beat_seconds: float


class HeartbeatStore:
    """The beats of all nodes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def beat(self, incarnation: str, ttl_seconds: float) -> None:
        """Let others know, for so long, that an incarnation is alive."""
        await self._store.call("SET", names.node_beat(incarnation), b"", "PX", int(ttl_seconds * 1000))

    async def of_all(self) -> dict[str, Heartbeat]:
        """Tell of every incarnation that was not cleaned up after whether it is known to be alive."""
        known = await self._store.call("SMEMBERS", names.nodes())
        incarnations = sorted(one.decode(errors="replace") for one in known)
        node_keys = [name for one in incarnations for name in (names.node(one), names.node_beat(one))]
        answers = await self._store.call_many([Command(name, ("PTTL", name)) for name in node_keys])
        pairs = zip(answers[::2], answers[1::2], strict=True)
        return {
            one: Heartbeat(lease_ms >= 0, max(0, beat_ms) / 1000)
            for one, (lease_ms, beat_ms) in zip(incarnations, pairs, strict=True)
        }
