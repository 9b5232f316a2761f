"""Redis access for nodes: which incarnations there are, which of them live, and which node cleans up.

An INCARNATION is a node's id in Redis until the node was away for too long; then the node takes a new one. A
node renews its own incarnation; the cleanup reads the dead incarnations, and REST reads all.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.presence.redis_values import json_object, readable_texts
from realtime import names
from realtime.publications import replid_in
from realtime.redis.client import Command, Store


class NodeStore:
    """The nodes of the service."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def begin(self, incarnation: str, report: object, ttl_seconds: float) -> frozenset[str]:
        """Make a new incarnation known; return the replids under which it begins, one for each server."""
        replids = await self._replids()
        # In this order: an incarnation that is known without a key is dead.
        await self._store.call("SET", *_lease(incarnation, report, ttl_seconds))
        await self._store.call("SADD", names.nodes(), incarnation)
        return replids

    async def renew(
        self, incarnation: str, report: object, ttl_seconds: float, replids: frozenset[str]
    ) -> bool:
        """Keep an incarnation alive that began under these replids; return whether it lives.

        False if it has expired, so that other nodes may clean up after it, or if a server has another replid,
        so that its data in Redis may be lost: then the incarnation is left to expire.
        """
        if not await self._replids() <= replids:
            return False
        return bool(await self._store.call("SET", *_lease(incarnation, report, ttl_seconds), "XX"))

    async def _replids(self) -> frozenset[str]:
        """Return the replids of the servers that answer; see `reign_v1.lua`."""
        answers = await self._store.everywhere("INFO", "replication")
        return frozenset(replid_in(answer) for answer in answers.values())

    async def claim(self, incarnation: str, seconds: float) -> bool:
        """Claim the cleanup of a dead incarnation for so many seconds; False if another node has it."""
        heir_key = names.node_heir(incarnation)
        return bool(await self._store.call("SET", heir_key, b"", "PX", int(seconds * 1000), "NX"))

    async def all(self) -> dict[str, Any | None]:
        """Return every incarnation that was not cleaned up, with its report; None for a dead incarnation."""
        known = sorted(readable_texts(await self._store.call("SMEMBERS", names.nodes())))
        node_keys = map(names.node, known)
        reports = await self._store.call_many([Command(key, ("GET", key)) for key in node_keys])
        return {
            incarnation: None if raw is None else json_object(raw)
            for incarnation, raw in zip(known, reports, strict=True)
        }

    async def delete(self, incarnation: str) -> None:
        """Delete an incarnation after which everything has been cleaned up."""
        await self._store.call("DEL", names.node(incarnation))
        await self._store.call("DEL", names.node_topics(incarnation))
        await self._store.call("SREM", names.nodes(), incarnation)


def _lease(incarnation: str, report: object, ttl_seconds: float) -> list[Any]:
    return [names.node(incarnation), msgspec.json.encode(report), "PX", int(ttl_seconds * 1000)]
