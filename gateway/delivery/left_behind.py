"""Empty topics that clients of this node have left, and that Redis still keeps for a while.

Clients may subscribe to any name, and each name leaves a key in Redis. This module counts the topics that a
connection and a project have left behind; `empty_topics` applies the limits. Time comes in as an argument.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice

from realtime.channels import TopicKey


class LeftBehind:
    """Topics by project, oldest first; each expires `seconds` after it was left."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._topics: dict[str, dict[str, tuple[str, float]]] = {}  # maker and expiry time
        self._made: Counter[str] = Counter()  # number of these topics by the connection that made them

    def __repr__(self) -> str:
        return f"<LeftBehind {self._made.total()} topics of {len(self._made)} connections>"

    def add(self, key: TopicKey, maker: str, now: float) -> None:
        """Record that a topic was left; the connection that made it may be closed already."""
        self.remove(key)
        project, topic = key
        self._topics.setdefault(project, {})[topic] = (maker, now + self._seconds)
        self._made[maker] += 1

    def remove(self, key: TopicKey) -> None:
        """Remove a topic that is in use again or has expired; an unknown topic is ignored."""
        project, topic = key
        topics = self._topics.get(project, {})
        if topic not in topics:
            return
        maker, _ = topics.pop(topic)
        if not topics:
            del self._topics[project]
        self._made[maker] -= 1
        if not self._made[maker]:
            del self._made[maker]

    def made_by(self, connection_id: str, now: float) -> int:
        """Return how many topics made by this connection are left behind."""
        self._forget_what_is_gone(now)
        return self._made[connection_id]

    def oldest_beyond(self, limit: int, project: str, now: float) -> list[TopicKey]:
        """Remove and return the oldest topics that a project has left behind beyond a limit."""
        self._forget_what_is_gone(now)
        topics = self._topics.get(project, {})
        beyond = [(project, topic) for topic in islice(topics, max(0, len(topics) - limit))]
        for key in beyond:
            self.remove(key)
        return beyond

    def _forget_what_is_gone(self, now: float) -> None:
        for project, topics in list(self._topics.items()):
            while topics:
                topic, (_, gone_at) = next(iter(topics.items()))
                if gone_at > now:
                    break
                self.remove((project, topic))
