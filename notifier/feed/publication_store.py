"""The notifier's access to Redis for changes: it publishes them, and reads and resets topics' checkpoints.

The publisher of a project's feed calls it. Errors of Redis are raised as Unavailable. It decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from realtime import names
from realtime.errors import RealtimeError
from realtime.redis.client import Command, Store
from realtime.redis.history import History, new_epoch, topic_keys
from realtime.redis.scripts import Call, Script

LONE_SECONDS = 1.0  # for an answer that nobody waits for; without it `publish` takes the time that it needs


@dataclass(frozen=True, slots=True)
class Chunk:
    """Changes of one topic that are published in one call: their outbox ids, and one line each.

    `after` is the checkpoint that the changes continue: TOKEN:ID of the topic's last change; "" at the start.
    """

    topic: str
    after: str
    ids: list[int]
    lines: list[str]


class Diverged(RealtimeError):
    """Topics whose next changes do not continue their checkpoint: changes were lost, or written elsewhere."""

    def __init__(self, checkpoints: Mapping[str, str]) -> None:
        super().__init__(checkpoints)
        self.checkpoints = checkpoints  # found in Redis, by topic

    def __str__(self) -> str:
        return f"not where the feed left them: {', '.join(sorted(self.checkpoints))}"


class PublicationStore:
    """Writes the table topics of all projects to Redis."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changes = Script(store, "append_v2", "changes_v2")
        self._reset = Script(store, "reset_v1")

    async def publish(self, project: str, token: str, chunks: Sequence[Chunk], history: History) -> int:
        """Publish chunks of the batch `token`, in order; return how many changes were new to their topics.

        Raises Diverged for topics whose checkpoint the changes do not continue; the others have taken theirs.
        """
        answers = await self._changes.call_many([_call(project, token, chunk, history) for chunk in chunks])
        refused = {
            chunk.topic: answer.decode()
            for chunk, answer in zip(chunks, answers, strict=True)
            if isinstance(answer, bytes)
        }
        if refused:
            raise Diverged(refused)
        return sum(answers)

    def begin(self, project: str, token: str, chunk: Chunk, history: History) -> asyncio.Future[Any] | None:
        """Publish one chunk without waiting, if that takes one step; see `Store.begin`.

        The answer is the number of changes that were new, or anything else if `publish` must be called.
        """
        return self._changes.begin(_call(project, token, chunk, history), LONE_SECONDS)

    async def checkpoints(self, project: str, topics: Sequence[str]) -> dict[str, str]:
        """Return the checkpoint of each of a project's table topics; "" if a topic has none."""
        metas = [names.topic_meta(project, topic) for topic in topics]
        found = await self._store.call_many([Command(meta, ("HGET", meta, "mark")) for meta in metas])
        return {topic: (mark or b"").decode() for topic, mark in zip(topics, found, strict=True)}

    async def reset(self, project: str, moves: Mapping[str, tuple[str, str]]) -> None:
        """Begin a new epoch of each topic, if it is still at the first checkpoint; set the second checkpoint.

        Subscribers receive `resync`; a topic that has moved from the first checkpoint meanwhile is unchanged.
        """
        calls = [
            (
                topic_keys(project, topic),
                [names.topic_channel(project, topic), found, checkpoint, new_epoch()],
            )
            for topic, (found, checkpoint) in moves.items()
        ]
        await self._reset.call_many(calls)

    async def note_tables(self, project: str, topics: Sequence[str]) -> None:
        """Store the names of table topics in Redis, so that they outlast the database that they come from."""
        await self._store.call("SADD", names.tables(project), *topics)

    async def noted_tables(self, project: str) -> set[str]:
        """Return the table topics that `note_tables` stored for a project."""
        noted = await self._store.call("SMEMBERS", names.tables(project))
        return {topic.decode() for topic in noted}

    async def eviction_policies(self) -> set[str]:
        """Return the eviction policies of all servers; "unknown" stands for a server that does not tell."""
        answers = await self._store.everywhere("INFO", "memory")
        found = [answer if isinstance(answer, dict) else {} for answer in answers.values()]
        return {str(memory.get("maxmemory_policy", "unknown")) for memory in found}


def _call(project: str, token: str, chunk: Chunk, history: History) -> Call:
    """Return keys and arguments of `changes_v2.lua`."""
    arguments = [
        names.topic_channel(project, chunk.topic),
        chunk.after,
        token,
        ",".join(map(str, chunk.ids)),
        chunk.ids[-1],
        len(chunk.ids),
        "\n".join(chunk.lines),
        new_epoch(),
        *history.arguments(),
    ]
    return topic_keys(project, chunk.topic), arguments
