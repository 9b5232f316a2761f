"""The door to Redis: publishing, history, and what each process reports of itself.

The notifier publishes through it, gateways read positions and history; who listens live is in
`gateway.subscriber`. Redis' own errors leave as Unavailable. Decides nothing about what a message means.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from realtime import keys
from realtime.config import Settings
from realtime.errors import Unavailable
from realtime.publications import Position, Publication, read_publication
from realtime.scripts import Script

HISTORY_BYTES = 64 * 1024 * 1024  # of one topic; more would make Redis' memory depend on the size of rows
FOR_EVER = 0  # how long a table's epoch and offset are kept
META_OUTLIVES = 2  # times the history of a broadcast topic: its epoch and offset
HISTORY_PAGE = 16  # publications of at most 1 MiB that one read brings
REDIS_TIMEOUT_SECONDS = 5


@dataclass(frozen=True, slots=True)
class History:
    """How much of a topic is kept for clients that come back."""

    max_entries: int
    max_seconds: float

    @property
    def max_age_ms(self) -> int:
        return int(self.max_seconds * 1000)

    def arguments(self) -> list[int]:
        return [self.max_entries, self.max_age_ms, HISTORY_BYTES]


@dataclass(frozen=True, slots=True)
class Post:
    """Messages of clients to one topic, a line each."""

    project: str
    topic: str
    lines: list[bytes]
    history: History


@dataclass(frozen=True, slots=True)
class Chunk:
    """Changes of one topic that go out in one call: ids of the outbox, and a line each."""

    topic: str
    ids: list[int]
    lines: list[str]


def connect(url: str) -> redis.Redis:
    """Return a client for `redis_url`; it connects when it is first used.

    It does not retry by itself: who loses a connection has to know, since it may have missed messages.
    And it sets no time for a command: redis-py does that by `asyncio.wait_for`, which before Python 3.12
    swallows a cancellation that comes at the same time; `redis_errors_as_unavailable` does it instead.
    """
    return redis.from_url(
        url,
        socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
        socket_timeout=None,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )


@asynccontextmanager
async def redis_errors_as_unavailable() -> AsyncIterator[None]:
    """Bound a call of Redis in time, and translate what redis-py raises."""
    try:
        async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
            yield
    except (RedisError, OSError, TimeoutError) as error:
        raise Unavailable("Redis cannot be reached now") from error


class Broker:
    """Redis as this service uses it; one a process."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self.client = client
        self._table_history = History(settings.history_entries, settings.history_seconds)
        self._position = Script(client, "position_v1")
        self._publish = Script(client, "publish_v1")

    async def publish_changes(self, project: str, batch: int, chunks: Sequence[Chunk]) -> int:
        """Hand over the chunks of a batch, in order; return how many changes were new to their topics."""
        calls = [
            (
                _topic_keys(project, chunk.topic),
                [
                    batch,
                    ",".join(map(str, chunk.ids)),
                    chunk.ids[-1],
                    len(chunk.ids),
                    "\n".join(chunk.lines),
                    new_epoch(),
                    *self._table_history.arguments(),
                    FOR_EVER,
                ],
            )
            for chunk in chunks
        ]
        async with redis_errors_as_unavailable():
            return sum(int(answer[2]) for answer in await self._publish.call_many(calls))

    async def broadcast(self, posts: Sequence[Post]) -> None:
        """Publish what clients say; each topic's posts keep their order."""
        calls = [
            (
                _topic_keys(post.project, post.topic),
                [
                    "",
                    "",
                    0,
                    len(post.lines),
                    b"\n".join(post.lines),
                    new_epoch(),
                    *post.history.arguments(),
                    post.history.max_age_ms * META_OUTLIVES,
                ],
            )
            for post in posts
        ]
        async with redis_errors_as_unavailable():
            await self._publish.call_many(calls)

    async def position(self, project: str, topic: str) -> Position:
        """Tell where a topic stands now."""
        async with redis_errors_as_unavailable():
            epoch, offset = await self._position.call(
                [keys.topic_meta(project, topic)], [new_epoch(), self._table_history.max_age_ms]
            )
            return Position(epoch.decode(), offset)

    async def missed(
        self, project: str, topic: str, since: Position, until: Position
    ) -> list[Publication] | None:
        """Return what a topic published after `since` up to `until`; None where history does not reach."""
        if since.epoch != until.epoch or since.offset > until.offset:
            return None
        found: list[Publication] = []
        reached = since.offset
        while reached < until.offset:
            page = await self._history_page(project, topic, reached + 1)
            for publication in page:
                if publication.epoch != since.epoch or publication.first > reached + 1:
                    return None
                found.append(publication.after(reached))
                reached = publication.last
                if reached >= until.offset:
                    return found
            if not page:
                return None
        return found

    async def _history_page(self, project: str, topic: str, first: int) -> list[Publication]:
        async with redis_errors_as_unavailable():
            entries: Any = await self.client.xrange(
                keys.topic_history(project, topic), min=f"{first}-0", max="+", count=HISTORY_PAGE
            )
            return [read_publication(fields[b"p"]) for _, fields in entries]

    async def eviction_policy(self) -> str:
        """What Redis does when its memory is full; "unknown" where it does not tell."""
        async with redis_errors_as_unavailable():
            memory = await self.client.info("memory")
            return str(memory.get("maxmemory_policy", "unknown"))

    async def report(self, key: str, facts: Any, ttl_seconds: float) -> None:
        """Leave a report that disappears by itself when it is not renewed."""
        async with redis_errors_as_unavailable():
            await self.client.set(key, msgspec.json.encode(facts), px=int(ttl_seconds * 1000))

    async def read_report(self, key: str) -> Any | None:
        async with redis_errors_as_unavailable():
            raw = await self.client.get(key)
            return None if raw is None else msgspec.json.decode(raw)


def _topic_keys(project: str, topic: str) -> list[str]:
    return [
        keys.topic_meta(project, topic),
        keys.topic_history(project, topic),
        keys.topic_channel(project, topic),
    ]


def new_epoch() -> str:
    """A name that no other history of the topic has had."""
    return secrets.token_hex(6)
