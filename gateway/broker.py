"""The gateway's door to Redis for topics: broadcasts, positions, history, and the notifier's report.

Who listens live is in `gateway.delivery.topic_subscriptions`. Redis' own errors leave as Unavailable. Decides
nothing about what a message means.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from realtime import names
from realtime.channels import is_table_topic
from realtime.errors import Unavailable
from realtime.publications import Position, Publication, read_publication, replid_in
from realtime.redis.client import Command, Store, checked, unavailable
from realtime.redis.history import History, milliseconds, new_epoch, topic_keys
from realtime.redis.scripts import Script
from realtime.settings.config import Settings

META_OUTLIVES = 2  # times the history of a broadcast topic: its epoch and offset
EMPTY_SECONDS = 300.0  # for which a topic is remembered that nothing was published to; clients make names
PAGE_BYTES = 262_144  # of history that one read brings, beside the publication that goes beyond it


@dataclass(frozen=True, slots=True)
class Post:
    """Messages of clients to one topic, a line each."""

    project: str
    topic: str
    lines: list[bytes]
    history: History


class Broker:
    """The topics of all projects, as a gateway reads and writes them; one a process."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.empty_seconds = min(EMPTY_SECONDS, settings.history_seconds)  # see `position`
        self._position = Script(store, "reign_v1", "position_v2")
        self._forget_empty = Script(store, "forget_empty_v1")
        self._broadcast = Script(store, "reign_v1", "append_v1", "broadcast_v1")
        self._page = Script(store, "page_v1")

    async def broadcast(self, posts: Sequence[Post]) -> list[int | Unavailable]:
        """Publish what clients say; each topic's posts keep their order.

        Returns how many bytes of history each post's topic has then, or why Redis did not take it.
        """
        return await self.posting(posts)()

    def posting(self, posts: Sequence[Post]) -> Callable[[], Awaitable[list[int | Unavailable]]]:
        """Make all of `broadcast` but the sending, so that what cannot be sent is known before."""
        calls = [
            (
                [key.encode() for key in topic_keys(post.project, post.topic)],
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
            topic_keys(project, topic), [new_epoch(), milliseconds(self.empty_seconds), source]
        )
        return Position(epoch.decode(), offset)

    async def keep_empty(self, topics: Iterable[tuple[str, str, float]]) -> None:
        """Let topics, if they are empty, be remembered for so many seconds from now on, at least.

        Each is a project, a topic and the seconds.
        """
        commands = [
            # GT: what is there for longer, or for ever, is not empty.
            Command(meta, ("PEXPIRE", meta, milliseconds(seconds), "GT"))
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

    async def read_report(self, key: str) -> Any | None:
        """Return what was reported; None where nothing was, or nobody can read it."""
        raw = await self.store.call("GET", key)
        try:
            return None if raw is None else msgspec.json.decode(raw)
        except (ValueError, RecursionError):
            return None
