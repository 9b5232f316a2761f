"""The gateway's access to Redis for topics: broadcasts, positions, history, and the notifier's report.

Live subscriptions are in `gateway.delivery.topic_subscriptions`. Errors of Redis are raised as Unavailable.
The broker does not decide what a message means.
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
from realtime.redis.client import Command, Store
from realtime.redis.failures import checked, unavailable
from realtime.redis.history import History, milliseconds, new_epoch, topic_keys
from realtime.redis.scripts import Script
from realtime.settings.config import Settings

META_OUTLIVES = 2  # a broadcast topic's epoch and offset are kept so many times as long as its history
EMPTY_SECONDS = 300.0  # for which a topic without publications is remembered; clients make up topic names
PAGE_BYTES = 262_144  # of history in one read, plus the rest of the publication that exceeds it


@dataclass(frozen=True, slots=True)
class Post:
    """Messages of clients to one topic, one line each."""

    project: str
    topic: str
    lines: list[bytes]
    history: History


class Broker:
    """The topics of all projects, as a gateway reads and writes them; one broker a process."""

    def __init__(self, store: Store, settings: Settings, *, page_bytes: int = PAGE_BYTES) -> None:
        self.store = store
        self._page_bytes = page_bytes
        self.empty_seconds = min(EMPTY_SECONDS, settings.history_seconds)  # see `position`
        self._position = Script(store, "reign_v1", "position_v2")
        self._forget_empty = Script(store, "forget_empty_v1")
        self._broadcast = Script(store, "reign_v1", "append_v2", "broadcast_v2")
        self._page = Script(store, "page_v1")

    def posting(self, posts: Sequence[Post]) -> Callable[[], Awaitable[list[int | Unavailable]]]:
        """Prepare to publish messages of clients; return the call that sends them.

        The posts of each topic keep their order. Wrong posts raise before anything is sent. The call returns
        for each post how many bytes of history its topic has then, or why Redis refused the post.
        """
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
        """Return the position of a topic; an empty topic is remembered for `empty_seconds` from then on."""
        source = "feed" if is_table_topic(topic) else "reign"
        epoch, offset = await self._position.call(
            topic_keys(project, topic), [new_epoch(), milliseconds(self.empty_seconds), source]
        )
        return Position(epoch.decode(), offset)

    async def keep_empty(self, topics: Iterable[tuple[str, str, float]]) -> None:
        """Keep topics that are empty for at least so many seconds from now on.

        Each item is a project, a topic and the seconds.
        """
        commands = [
            # GT: a topic that is kept for longer, or for ever, is not empty.
            Command(meta, ("PEXPIRE", meta, milliseconds(seconds), "GT"))
            for project, topic, seconds in topics
            for meta in [names.topic_meta(project, topic)]
        ]
        await self.store.call_many(commands)

    async def forget_empty(self, topics: Iterable[tuple[str, str]]) -> None:
        """Forget those of the topics, by project and topic, that nothing was ever published to."""
        await self._forget_empty.call_many(
            [([names.topic_meta(project, topic)], []) for project, topic in topics]
        )

    async def probe(self, channel: bytes) -> str:
        """Send an empty message over a pub/sub channel; return the replid of its server.

        Another replid than before means that the server restarted or was replaced, and may have lost the last
        writes. Raises Unavailable for a replica, which does not pass the message on.
        """
        commands = [Command(channel, ("SPUBLISH", channel, b"")), Command(channel, ("INFO", "replication"))]
        receivers, replication = await self.store.send(commands)
        checked([receivers])
        if isinstance(replication, dict) and replication.get("role") != "master":
            await self.store.demoted(channel)
            raise Unavailable("this Redis is a replica now")
        return replid_in(replication)

    async def page(self, project: str, topic: str, since: Position, until: int) -> list[Publication] | None:
        """Return the first publications of a topic after `since`; None if history does not reach.

        The page has no gap, is never empty, and ends with the publication that contains `until`, or before.
        """
        found = await self._page.call(
            [names.topic_history(project, topic)], [since.offset + 1, until, self._page_bytes]
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
        """Return a report; None if there is no report, or if the report cannot be decoded."""
        raw = await self.store.call("GET", key)
        try:
            return None if raw is None else msgspec.json.decode(raw)
        except (ValueError, RecursionError):
            return None
