"""What a project's clients have put into the history of broadcasts by this node, as far as it is not gone.

The voice notes what Redis says of a channel after each post, and asks before the next one. Time comes in as
an argument, of a clock that never goes back. Never asks Redis: what that lost counts until its time is up.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from contextlib import contextmanager

from realtime.errors import ClientError, Code

TOPIC_BYTES = 5_120  # beside its messages; Redis takes 4,600 for a channel that has hardly any


class HistoryLedger:
    """Bytes by topic; a topic is gone a while after its last post."""

    def __init__(self) -> None:
        self._topics: dict[str, tuple[int, float]] = {}  # bytes, and when they are gone
        self._next: list[tuple[float, str]] = []  # a heap: when to look at a topic again, each topic once
        self._total = 0  # of the bytes above
        self._under_way = 0  # bytes that are being sent, and are not above yet

    def __repr__(self) -> str:
        return f"<HistoryLedger {len(self._topics)} topics, {self._total} bytes>"

    def total(self, now: float) -> int:
        """The bytes that are not known to be gone."""
        while self._next and self._next[0][0] <= now:
            _, topic = heapq.heappop(self._next)
            size, gone_at = self._topics[topic]
            if gone_at > now:
                heapq.heappush(self._next, (gone_at, topic))  # somebody has spoken since
            else:
                self._total -= size
                del self._topics[topic]
        return self._total

    def note(self, topic: str, history_bytes: int, gone_at: float) -> None:
        """A topic's history has so many bytes now, and is gone then unless somebody speaks."""
        before = self._topics.get(topic)
        if before is None:
            heapq.heappush(self._next, (gone_at, topic))
        size = history_bytes + TOPIC_BYTES
        self._topics[topic] = (size, gone_at)
        self._total += size - (0 if before is None else before[0])

    @contextmanager
    def room_for(self, size: int, limit: int, now: float) -> Iterator[None]:
        """Hold so many bytes while they are being sent; ClientError `rate_limited` if they are too many.

        A `limit` of 0 is none.
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
