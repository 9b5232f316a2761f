"""The door to Redis: publishing, history, and what each process reports of itself.

The notifier publishes through it, gateways read positions and history; who listens live is in
`gateway.delivery.topic_subscriptions`. Redis' own errors leave as Unavailable. Decides nothing about what a
message means.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from realtime import names
from realtime.channels import is_table_topic
from realtime.errors import RealtimeError, Unavailable
from realtime.publications import Position, Publication, read_publication, replid_in
from realtime.redis.client import Command, Store, checked, unavailable
from realtime.redis.scripts import Script
from realtime.settings.config import Settings

HISTORY_BYTES = 64 * 1024 * 1024  # of one topic; more would make Redis' memory depend on the size of rows
META_OUTLIVES = 2  # times the history of a broadcast topic: its epoch and offset
FEED_FAILED = "failed, and is tried again"  # what a notifier reports of a project that it cannot serve now
EMPTY_SECONDS = 300.0  # for which a topic is remembered that nothing was published to; clients make names
PAGE_BYTES = 262_144  # of history that one read brings, beside the publication that goes beyond it


@dataclass(frozen=True, slots=True)
class History:
    """How much of a topic is kept for clients that come back."""

    max_entries: int
    max_seconds: float

    @property
    def max_age_ms(self) -> int:
        return _milliseconds(self.max_seconds)

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


class Broker:
    """Redis as this service uses it; one a process."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.empty_seconds = min(EMPTY_SECONDS, settings.history_seconds)  # see `position`
        self._position = Script(store, "reign_v1", "position_v2")
        self._forget_empty = Script(store, "forget_empty_v1")
        self._changes = Script(store, "append_v1", "changes_v1")
        self._broadcast = Script(store, "reign_v1", "append_v1", "broadcast_v1")
        self._reset = Script(store, "reset_v1")
        self._page = Script(store, "page_v1")

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
                    names.topic_channel(project, chunk.topic),
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
        answers = await self._changes.call_many(calls)
        refused = {
            chunk.topic: mark.decode() for chunk, (new, mark) in zip(chunks, answers, strict=True) if new < 0
        }
        if refused:
            raise Astray(refused)
        return sum(new for new, _ in answers)

    async def marks(self, project: str, topics: Sequence[str]) -> dict[str, str]:
        """Tell at which mark each of a project's table topics stands; "" for nowhere."""
        metas = [names.topic_meta(project, topic) for topic in topics]
        found = await self.store.call_many([Command(meta, ("HGET", meta, "mark")) for meta in metas])
        return {topic: (mark or b"").decode() for topic, mark in zip(topics, found, strict=True)}

    async def reset(self, project: str, moves: Mapping[str, tuple[str, str]]) -> None:
        """Begin topics anew that were found at the first mark and stand at the second from here on.

        Subscribers hear `resync`; one that has moved meanwhile is left alone.
        """
        calls = [
            (_topic_keys(project, topic), [names.topic_channel(project, topic), found, mark, new_epoch()])
            for topic, (found, mark) in moves.items()
        ]
        await self._reset.call_many(calls)

    async def note_tables(self, project: str, topics: Sequence[str]) -> None:
        """Remember table topics, whatever becomes of the database that they come from."""
        await self.store.call("SADD", names.tables(project), *topics)

    async def noted_tables(self, project: str) -> set[str]:
        noted = await self.store.call("SMEMBERS", names.tables(project))
        return {topic.decode() for topic in noted}

    async def broadcast(self, posts: Sequence[Post]) -> list[int | Unavailable]:
        """Publish what clients say; each topic's posts keep their order.

        Returns how many bytes of history each post's topic has then, or why Redis did not take it.
        """
        return await self.posting(posts)()

    def posting(self, posts: Sequence[Post]) -> Callable[[], Awaitable[list[int | Unavailable]]]:
        """Make all of `broadcast` but the sending, so that what cannot be sent is known before."""
        calls = [
            (
                [key.encode() for key in _topic_keys(post.project, post.topic)],
                [
                    names.topic_channel(post.project, post.topic),
                    len(post.lines),
                    b"\n".join(post.lines),
                    new_epoch(),
                    *post.history.arguments(),
                    post.history.max_age_ms * META_OUTLIVES,
                ],
            )
            for post in posts
        ]

        async def send() -> list[int | Unavailable]:
            return [
                unavailable(answer) if isinstance(answer, Exception) else answer[1]
                for answer in await self._broadcast.outcomes(calls)
            ]

        return send

    async def position(self, project: str, topic: str) -> Position:
        """Tell where a topic stands now; one that is empty is remembered for `empty_seconds` from then on."""
        source = "feed" if is_table_topic(topic) else "reign"
        epoch, offset = await self._position.call(
            _topic_keys(project, topic), [new_epoch(), _milliseconds(self.empty_seconds), source]
        )
        return Position(epoch.decode(), offset)

    async def keep_empty(self, topics: Iterable[tuple[str, str, float]]) -> None:
        """Let topics, if they are empty, be remembered for so many seconds from now on, at least.

        Each is a project, a topic and the seconds.
        """
        commands = [
            # GT: what is there for longer, or for ever, is not empty.
            Command(meta, ("PEXPIRE", meta, _milliseconds(seconds), "GT"))
            for project, topic, seconds in topics
            for meta in [names.topic_meta(project, topic)]
        ]
        await self.store.call_many(commands)

    async def forget_empty(self, topics: Iterable[tuple[str, str]]) -> None:
        """Forget those topics, by project and topic, that nothing was ever published to."""
        await self._forget_empty.call_many(
            [([names.topic_meta(project, topic)], []) for project, topic in topics]
        )

    async def probe(self, channel: bytes) -> str:
        """Send an empty message over a pub/sub channel; return the replid of its server.

        Another replid than before means that the server restarted or was replaced, and may have lost what was
        last. Raises Unavailable for a replica, which keeps the message to itself.
        """
        commands = [Command(channel, ("SPUBLISH", channel, b"")), Command(channel, ("INFO", "replication"))]
        told, replication = await self.store.send(commands)
        checked([told])
        if isinstance(replication, dict) and replication.get("role") != "master":
            await self.store.demoted(channel)
            raise Unavailable("this Redis is a replica now")
        return replid_in(replication)

    async def missed(
        self, project: str, topic: str, since: Position, until: Position
    ) -> list[Publication] | None:
        """Return what a topic published after `since` up to `until`; None where history does not reach.

        All of it, however much that is: who serves clients reads it in pages.
        """
        if since.epoch != until.epoch or since.offset > until.offset:
            return None
        found: list[Publication] = []
        while since.offset < until.offset:
            page = await self.page(project, topic, since, until.offset)
            if page is None:
                return None
            found += page
            since = Position(since.epoch, page[-1].last)
        return found

    async def page(self, project: str, topic: str, since: Position, until: int) -> list[Publication] | None:
        """Return what a topic published first after `since`; None where history does not reach.

        It has no hole, is never empty, and ends with the publication that contains `until`, or before.
        """
        found = await self._page.call(
            [names.topic_history(project, topic)], [since.offset + 1, until, PAGE_BYTES]
        )
        page: list[Publication] = []
        reached = since.offset
        for publication in map(read_publication, found):
            if publication.epoch != since.epoch or publication.first > reached + 1:
                break
            page.append(publication.after(reached))
            reached = publication.last
        return page or None

    async def eviction_policies(self) -> set[str]:
        """What Redis does when its memory is full; "unknown" where it does not tell."""
        answers = await self.store.everywhere("INFO", "memory")
        told = [answer if isinstance(answer, dict) else {} for answer in answers.values()]
        return {str(memory.get("maxmemory_policy", "unknown")) for memory in told}

    async def report(self, key: str, facts: Any, ttl_seconds: float) -> None:
        """Leave a report that disappears by itself when it is not renewed."""
        await self.store.call("SET", key, msgspec.json.encode(facts), "PX", _milliseconds(ttl_seconds))

    async def read_report(self, key: str) -> Any | None:
        """Return what was reported; None where nothing was, or nobody can read it."""
        raw = await self.store.call("GET", key)
        try:
            return None if raw is None else msgspec.json.decode(raw)
        except (ValueError, RecursionError):
            return None


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


def _topic_keys(project: str, topic: str) -> list[str]:
    """Without the channel: while a slot moves, keys that are not there make Redis say to try again."""
    return [names.topic_meta(project, topic), names.topic_history(project, topic)]


def new_epoch() -> str:
    """A name that no other history of the topic has had."""
    return secrets.token_hex(6)
