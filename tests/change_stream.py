"""Changes as the notifier would publish them, one after the other, for the tests of gateways."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from notifier.feed.publication_store import Chunk, Diverged, PublicationStore
from realtime.channels import Event, Table
from realtime.publications import change_line, line_prefix
from realtime.redis.client import Store, connect
from realtime.redis.history import History
from realtime.settings.config import Settings

DEADLINE = 45.0  # seconds that anything here may take; nothing does, unless it is broken
ORDERS = Table("public", "orders")


@asynccontextmanager
async def background(task: asyncio.Task[Any]) -> AsyncIterator[None]:
    """Keep a task while the block runs; its own end is a fault of the test."""
    try:
        yield
        if task.done():
            task.result()
            raise AssertionError(f"{task} ended by itself")
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=DEADLINE)
        assert task.done(), f"{task} does not end"


class Publisher:
    """Publishes changes of table `public.orders` as the notifier would; rows have the ids 1, 2, 3, …"""

    def __init__(self, store: Store, history: History) -> None:
        self.store = store
        self.publications = PublicationStore(store)
        self.history = history
        self.published = 0
        self._batches = itertools.count(1)
        self._checkpoints: dict[str, str] = {}  # what each topic took last

    async def publish(
        self,
        count: int = 1,
        event: Event = Event.INSERT,
        table: Table = ORDERS,
        pad: str = "",
    ) -> list[int]:
        """Publish so many changes in one go; return the ids of their rows."""
        ids = list(range(self.published + 1, self.published + count + 1))
        lines = [
            change_line(
                line_prefix(table, event),
                json.dumps({"id": one, "pad": pad}) if pad else f'{{"id":{one}}}',
                f'{{"id":{one},"was":true}}' if event is Event.UPDATE else None,
                "2026-01-01T00:00:00.000000Z",
                False,
            )
            for one in ids
        ]
        await self._hand_over(table.topic, ids, lines)
        self.published += count
        return ids

    async def _hand_over(self, topic: str, ids: list[int], lines: list[str]) -> None:
        """A batch of one topic, which begins anew where Redis lost it."""
        token, after = str(next(self._batches)), self._checkpoints.get(topic, "")
        chunk = Chunk(topic, after, ids, lines)
        try:
            await self.publications.publish("demo", token, [chunk], self.history)
        except Diverged as diverged:
            await self.publications.reset("demo", {topic: (diverged.checkpoints[topic], after)})
            await self.publications.publish("demo", token, [chunk], self.history)
        self._checkpoints[topic] = f"{token}:{ids[-1]}"


@asynccontextmanager
async def publisher_to(settings: Settings) -> AsyncIterator[Publisher]:
    async with connect(settings.redis_url) as store:
        yield Publisher(store, History(settings.history_entries, settings.history_seconds))


class Listener(Protocol):
    """A client that can subscribe and hear changes."""

    async def subscribe(self, channel: str) -> Any: ...

    async def hear_rows(self, count: int) -> list[int]: ...


@asynccontextmanager
async def streaming(client: Listener, publisher: Publisher) -> AsyncIterator[None]:
    """Publish while the block runs; the client must hear it complete and in order, to the end."""
    await client.subscribe("table:orders")
    first = publisher.published + 1

    async def keep_publishing() -> None:
        while True:
            await publisher.publish()
            await asyncio.sleep(0.005)

    async with background(asyncio.create_task(keep_publishing(), name="stream")):
        assert await client.hear_rows(1) == [first]
        yield
        expected = list(range(first + 1, publisher.published + 3))
        assert await client.hear_rows(len(expected)) == expected
