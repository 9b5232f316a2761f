"""Changes of a table that come from no database, and go into Redis as the notifier publishes them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from bench.programs import PROJECT
from notifier.feed.publication_store import Chunk, PublicationStore
from realtime.channels import Event, Table
from realtime.publications import change_line, line_prefix
from realtime.redis.client import Store
from realtime.redis.history import History

DATA = '{"id": 12345, "name": "Rahul", "note": "' + "x" * 120 + '"}'
AT = "2026-01-01T00:00:00.000000Z"
HISTORY = History(10_000, 3_600)


def line_of(table: Table, data: str = DATA) -> str:
    """Return the line of one inserted row."""
    return change_line(line_prefix(table, Event.INSERT), data, None, AT, False)


class Changes:
    """All changes of one table: each publication is a batch, and continues the one before."""

    def __init__(self, store: Store, table: Table, history: History = HISTORY) -> None:
        self._publications = PublicationStore(store)
        self._topic = table.topic
        self._history = history
        self._batches = 0
        self._checkpoint = ""

    async def publish(self, lines: list[str]) -> None:
        """Publish changes together."""
        self._batches += 1
        chunk = Chunk(self._topic, self._checkpoint, list(range(1, len(lines) + 1)), lines)
        await self._publications.publish(PROJECT, f"b{self._batches}", [chunk], self._history)
        self._checkpoint = f"b{self._batches}:{len(lines)}"

    async def publish_at(self, rate: int, seconds: int, line: Callable[[], str]) -> None:
        """Publish so many changes a second, one by one."""
        started = time.monotonic()
        for number in range(1, rate * seconds + 1):
            await self.publish([line()])
            ahead = started + number / rate - time.monotonic()
            if ahead > 0:
                await asyncio.sleep(ahead)
