"""Counts the history of broadcasts that a project's clients published on this node, until it expires.

The publisher notes the size that Redis returns for a topic after each post, and asks before the next post.
Time comes in as an argument, of a monotonic clock. Never asks Redis: lost history counts until it expires.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from contextlib import contextmanager

from realtime.errors import ClientError, Code

TOPIC_BYTES = 5_120  # of a topic besides its messages; Redis takes 4,600 for a topic with hardly any messages


class HistoryLedger:
    """History bytes by topic; the history of a topic expires a while after its last post."""

    def __init__(self) -> None:
        self._topics: dict[str, tuple[int, float]] = {}  # bytes, and when they expire
        self._next: list[tuple[float, str]] = []  # a heap: when to look at a topic again, each topic once
        self._total = 0  # all bytes in `_topics`
        self._under_way = 0  # bytes that are being sent, and are not in `_topics` yet

    def __repr__(self) -> str:
        return f"<HistoryLedger {len(self._topics)} topics, {self._total} bytes>"

    def total(self, now: float) -> int:
        """Return the bytes that have not expired."""
        while self._next and self._next[0][0] <= now:
            _, topic = heapq.heappop(self._next)
            size, gone_at = self._topics[topic]
            if gone_at > now:
                heapq.heappush(self._next, (gone_at, topic))  # somebody has published since
            else:
                self._total -= size
                del self._topics[topic]
        return self._total

    def note(self, topic: str, history_bytes: int, gone_at: float) -> None:
        """Note the bytes of a topic's history, which expires at `gone_at` unless somebody publishes."""
        before = self._topics.get(topic)
        if before is None:
            heapq.heappush(self._next, (gone_at, topic))
        size = history_bytes + TOPIC_BYTES
        self._topics[topic] = (size, gone_at)
        self._total += size - (0 if before is None else before[0])

    @contextmanager
    def room_for(self, size: int, limit: int, now: float) -> Iterator[None]:
        """Reserve so many bytes while they are being sent; ClientError `rate_limited` if they are too many.

        A `limit` of 0 means no limit.
        """
        if limit and self.total(now) + self._under_way + size > limit:
            raise ClientError(
                Code.RATE_LIMITED,
                f"this project keeps as much history of broadcasts as it may: {limit} bytes",
            )
        self._under_way += size
        try:
            yield
        finally:
            self._under_way -= size
