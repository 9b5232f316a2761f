"""Empty topics that clients of this node have left, and that Redis remembers for a while still.

Clients may subscribe to any name, and each leaves a key. How many of them a connection and a project have
left behind is counted here; `empty_topics` decides what follows from that. Time comes in as an argument.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice

from realtime.channels import TopicKey


class LeftBehind:
    """Topics by project, oldest first; each is gone so many seconds after it was left."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._topics: dict[str, dict[str, tuple[str, float]]] = {}  # by whom it was made, and when it is gone
        self._made: Counter[str] = Counter()  # how many of the topics above a connection has made

    def __repr__(self) -> str:
        return f"<LeftBehind {self._made.total()} topics of {len(self._made)} connections>"

    def add(self, key: TopicKey, maker: str, now: float) -> None:
        """A topic was left that a connection had made; it need not be there any more."""
        self.remove(key)
        project, topic = key
        self._topics.setdefault(project, {})[topic] = (maker, now + self._seconds)
        self._made[maker] += 1

    def remove(self, key: TopicKey) -> None:
        """Somebody is there again, or the topic is gone; nothing happens to one that was not left."""
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
        """How many topics that this connection has made are left behind."""
        self._forget_what_is_gone(now)
        return self._made[connection_id]

    def oldest_beyond(self, limit: int, project: str, now: float) -> list[TopicKey]:
        """Take out and return what a project has left behind beyond a limit."""
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
