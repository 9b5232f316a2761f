"""Redis access for presence: who is present under which topic, and where an incarnation has entries.

The presence writer and the cleanup change entries, subscriptions and REST read them. Each change is one
script in one slot, so that an entry is changed and announced together or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.presence.change import Change, fields_under
from gateway.presence.redis_values import readable_texts
from gateway.presence.timings import DEFAULTS
from realtime import names
from realtime.channels import TopicKey
from realtime.publications import Position
from realtime.redis.client import Store
from realtime.redis.history import new_epoch
from realtime.redis.scripts import Script

RUBBISH_SECONDS = 24 * 3600  # presence of a topic that nobody changed for so long is dropped


class PresenceStore:
    """The presences of all nodes."""

    def __init__(self, store: Store, emptied_seconds: int = DEFAULTS.emptied_seconds) -> None:
        self._store = store
        self._emptied_ms = emptied_seconds * 1000
        self._presence = Script(store, "reign_v1", "presence_v2")
        self._members = Script(store, "reign_v1", "members_v2", writes=False)

    async def change(self, changes: Mapping[TopicKey, Sequence[Change]]) -> None:
        """Carry out and announce changes by topic; a topic without changes keeps its entries for longer."""
        calls = []
        for (project, topic), of_topic in changes.items():
            channel = names.topic_channel(project, topic)
            arguments: list[Any] = [channel, new_epoch(), RUBBISH_SECONDS * 1000, self._emptied_ms]
            for change in of_topic:
                arguments += ["remove" if change.entry is None else "set", change.field, change.entry or b""]
            calls.append((_topic_keys(project, topic), arguments))
        await self._presence.call_many(calls)

    async def members(self, project: str, topic: str) -> tuple[Position, dict[bytes, bytes]]:
        """Return the position of a topic, and who is present at that position: field → entry."""
        epoch, offset, flat = await self._members.call(_topic_keys(project, topic), [new_epoch()])
        return Position(epoch.decode(), offset), dict(zip(flat[::2], flat[1::2], strict=True))

    async def fields_of(self, project: str, topic: str, incarnation: str) -> list[str]:
        """Return the fields of the entries that an incarnation has under a topic."""
        scan = self._store.scan_hash(names.topic_members(project, topic), fields_under(incarnation))
        return list(readable_texts([field async for field, _ in scan]))

    async def note_topics(self, incarnation: str, topics: Sequence[TopicKey]) -> None:
        """Note where an incarnation is about to put entries, so that other nodes can find the entries."""
        noted = [f"{project} {topic}" for project, topic in topics]
        await self._store.call("SADD", names.node_topics(incarnation), *noted)

    async def forget_topics(self, incarnation: str, topics: Sequence[TopicKey]) -> None:
        """Remove the notes of topics where an incarnation has no entry left."""
        noted = [f"{project} {topic}" for project, topic in topics]
        await self._store.call("SREM", names.node_topics(incarnation), *noted)

    async def topics_of(self, incarnation: str) -> list[TopicKey]:
        """Return the topics that were noted for an incarnation."""
        noted = readable_texts(await self._store.call("SMEMBERS", names.node_topics(incarnation)))
        return [(project, topic) for project, _, topic in (one.partition(" ") for one in noted)]


def _topic_keys(project: str, topic: str) -> list[str]:
    return [names.topic_members(project, topic), names.topic_meta(project, topic)]
