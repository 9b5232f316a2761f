"""The door to Redis: publishing, history, and what each process reports of itself.

The notifier publishes through it, gateways read positions and history; who listens live is in
`gateway.subscriber`. Redis' own errors leave as Unavailable. Decides nothing about what a message means.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from realtime import keys
from realtime.channels import is_table_topic
from realtime.config import Settings
from realtime.errors import RealtimeError, Unavailable
from realtime.publications import Position, Publication, read_publication
from realtime.scripts import Script

HISTORY_BYTES = 64 * 1024 * 1024  # of one topic; more would make Redis' memory depend on the size of rows
META_OUTLIVES = 2  # times the history of a broadcast topic: its epoch and offset
HISTORY_PAGE = 16  # publications of at most 1 MiB that one read brings
REDIS_TIMEOUT_SECONDS = 5
CONNECTIONS = 64  # of one process; a call beyond that waits for one of them


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


def table_history(settings: Settings, project_id: str) -> History:
    """How much of each table of a project is kept."""
    project = settings.projects[project_id]
    return History(
        project.history_entries or settings.history_entries,
        project.history_seconds or settings.history_seconds,
    )


@dataclass(frozen=True, slots=True)
class Post:
    """Messages of clients to one topic, a line each."""

    project: str
    topic: str
    lines: list[bytes]
    history: History


@dataclass(frozen=True, slots=True)
class Chunk:
    """Changes of one topic that go out in one call: ids of the outbox, and a line each.

    `after` is the mark that they continue, TOKEN:ID of what the topic took last; "" is the beginning.
    """

    topic: str
    after: str
    ids: list[int]
    lines: list[str]


class Astray(RealtimeError):
    """Topics do not stand where their next changes begin: changes were lost, or come from elsewhere."""

    def __init__(self, marks: Mapping[str, str]) -> None:
        super().__init__(marks)
        self.marks = marks  # at which they were found, by topic

    def __str__(self) -> str:
        return f"not where the feed left them: {', '.join(sorted(self.marks))}"


def connect(url: str) -> redis.Redis:
    """Return a client for `redis_url`; it connects when it is first used.

    It does not retry by itself: who loses a connection has to know, since it may have missed messages.
    And it sets no time for a command: redis-py does that by `asyncio.wait_for`, which before Python 3.12
    swallows a cancellation that comes at the same time; `redis_errors_as_unavailable` does it instead.
    """
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
        socket_timeout=None,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )
    pool.connection_class = _translating(pool.connection_class)
    return redis.Redis.from_pool(pool)


def _translating(kind: type[Any]) -> type[Any]:
    """A connection that tells as its own error what uvloop says of a transport that was reset meanwhile."""

    class Translating(kind):  # type: ignore[misc]
        async def send_packed_command(self, *arguments: Any, **options: Any) -> None:
            try:
                await super().send_packed_command(*arguments, **options)
            except RuntimeError as error:
                raise RedisConnectionError("the connection is closed") from error

    return Translating


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
        self._empty_topic_ms = int(settings.history_seconds * 1000)
        self._position = Script(client, "reign_v1", "position_v1")
        self._probe = Script(client, "reign_v1", "probe_v1")
        self._changes = Script(client, "append_v1", "changes_v1")
        self._broadcast = Script(client, "reign_v1", "append_v1", "broadcast_v1")
        self._reset = Script(client, "reset_v1")

    async def publish_changes(
        self, project: str, token: str, chunks: Sequence[Chunk], history: History
    ) -> int:
        """Hand over chunks of the batch `token`, in order; return how many changes were new to their topics.

        Raises Astray for the topics that the changes do not continue; the others have taken theirs.
        """
        calls = [
            (
                _topic_keys(project, chunk.topic),
                [
                    chunk.after,
                    token,
                    ",".join(map(str, chunk.ids)),
                    chunk.ids[-1],
                    len(chunk.ids),
                    "\n".join(chunk.lines),
                    new_epoch(),
                    *history.arguments(),
                ],
            )
            for chunk in chunks
        ]
        async with redis_errors_as_unavailable():
            answers = await self._changes.call_many(calls)
        refused = {
            chunk.topic: mark.decode() for chunk, (new, mark) in zip(chunks, answers, strict=True) if new < 0
        }
        if refused:
            raise Astray(refused)
        return sum(new for new, _ in answers)

    async def marks(self, project: str, topics: Sequence[str]) -> dict[str, str]:
        """Tell at which mark each of a project's table topics stands; "" for nowhere."""
        async with redis_errors_as_unavailable(), self.client.pipeline(transaction=False) as pipeline:
            for topic in topics:
                pipeline.hget(keys.topic_meta(project, topic), "mark")
            found = await pipeline.execute()
        return {topic: (mark or b"").decode() for topic, mark in zip(topics, found, strict=True)}

    async def reset(self, project: str, moves: Mapping[str, tuple[str, str]]) -> None:
        """Begin topics anew that were found at the first mark and stand at the second from here on.

        Subscribers hear `resync`; one that has moved meanwhile is left alone.
        """
        calls = [
            (_topic_keys(project, topic), [found, mark, new_epoch()])
            for topic, (found, mark) in moves.items()
        ]
        async with redis_errors_as_unavailable():
            await self._reset.call_many(calls)

    async def note_tables(self, project: str, topics: Sequence[str]) -> None:
        """Remember table topics, whatever becomes of the database that they come from."""
        async with redis_errors_as_unavailable():
            await self.client.sadd(keys.tables(project), *topics)

    async def noted_tables(self, project: str) -> set[str]:
        async with redis_errors_as_unavailable():
            noted: Any = await self.client.smembers(keys.tables(project))
            return {topic.decode() for topic in noted}

    async def broadcast(self, posts: Sequence[Post]) -> None:
        """Publish what clients say; each topic's posts keep their order."""
        calls = [
            (
                _topic_keys(post.project, post.topic),
                [
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
            await self._broadcast.call_many(calls)

    async def position(self, project: str, topic: str) -> Position:
        """Tell where a topic stands now."""
        meta, history, _ = _topic_keys(project, topic)
        source = "feed" if is_table_topic(topic) else "reign"
        async with redis_errors_as_unavailable():
            epoch, offset = await self._position.call(
                [meta, history], [new_epoch(), self._empty_topic_ms, source]
            )
            return Position(epoch.decode(), offset)

    async def probe(self, channel: bytes) -> str:
        """Send an empty message over a pub/sub channel; return Redis' reign.

        Another reign than before means that Redis restarted or was replaced, and may have lost what was last.
        """
        async with redis_errors_as_unavailable():
            reign: bytes = await self._probe.call([channel.decode()], [])
            return reign.decode()

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
