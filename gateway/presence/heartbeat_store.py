"""Redis access for heartbeats: which nodes are alive at this moment.

A node beats by setting a key that expires a moment later. `heartbeats` reads the keys of all nodes. An
incarnation has the same name as in `node_store`, and this store does not change the incarnation.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.presence.redis_values import readable_texts
from realtime import names
from realtime.redis.client import Command, Store


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What Redis knows of an incarnation: whether its lease lives, and the seconds until its beat expires."""

    is_kept: bool
    beat_seconds: float


class HeartbeatStore:
    """The beats of all nodes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def beat(self, incarnation: str, ttl_seconds: float) -> None:
        """Let other nodes know, for so many seconds, that an incarnation is alive."""
        await self._store.call("SET", names.node_beat(incarnation), b"", "PX", int(ttl_seconds * 1000))

    async def of_all(self) -> dict[str, Heartbeat]:
        """Return the heartbeat of every incarnation that was not cleaned up."""
        incarnations = sorted(readable_texts(await self._store.call("SMEMBERS", names.nodes())))
        node_keys = [name for one in incarnations for name in (names.node(one), names.node_beat(one))]
        answers = await self._store.call_many([Command(name, ("PTTL", name)) for name in node_keys])
        pairs = zip(answers[::2], answers[1::2], strict=True)
        return {
            one: Heartbeat(lease_ms >= 0, max(0, beat_ms) / 1000)
            for one, (lease_ms, beat_ms) in zip(incarnations, pairs, strict=True)
        }
