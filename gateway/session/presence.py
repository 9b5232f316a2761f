"""The presences of one client, by topic: the rules of one connection's presence.

The session calls these rules, and its effects write presences to Redis. A topic is unconfirmed while Redis
may have another entry of this client than the entry here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from realtime.errors import ClientError, Code
from realtime.settings.config import Limits


@dataclass(frozen=True, slots=True)
class Presence:
    """One presence of a client: its state as received, and its times (seconds since 1970)."""

    state: bytes
    joined_at: float
    updated_at: float


class Presences:
    """All presences of one client."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._by_topic: dict[str, Presence] = {}
        self._unconfirmed: set[str] = set()  # topics where Redis may have another entry; to be restored

    def __repr__(self) -> str:
        return f"<Presences in {len(self)} topics, {len(self._unconfirmed)} unconfirmed>"

    def __len__(self) -> int:
        return len(self._by_topic)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_topic)

    @property
    def state_bytes(self) -> int:
        """The size of all states."""
        return sum(len(presence.state) for presence in self._by_topic.values())

    def get(self, topic: str) -> Presence | None:
        return self._by_topic.get(topic)

    def is_settled_absence(self, topic: str) -> bool:
        """Whether the client is not present under a topic, and Redis is known to have no entry either."""
        return topic not in self._by_topic and topic not in self._unconfirmed

    def check(self, topic: str, state: bytes) -> None:
        """Raise ClientError unless the client may be present under a topic with this state."""
        if state[:1] != b"{":
            raise ClientError(Code.INVALID_MESSAGE, "state: expected an object or null")
        if len(state) > self._limits.max_state_bytes:
            raise ClientError(
                Code.MESSAGE_TOO_BIG, f"a state has {self._limits.max_state_bytes} bytes at most"
            )
        most, topics = self._limits.max_channels_per_connection, self._by_topic.keys() | self._unconfirmed
        if topic not in topics and len(topics) >= most:
            raise ClientError(Code.TOO_MANY_CHANNELS, f"a connection is present in {most} channels at most")

    def update(self, topic: str, state: bytes, now: float) -> Presence:
        """Set the state of a presence; return the presence, which keeps its `joined_at`."""
        before = self._by_topic.get(topic)
        presence = Presence(state, before.joined_at if before else now, now)
        self._by_topic[topic] = presence
        return presence

    def put(self, topic: str, presence: Presence | None) -> None:
        """Set the client's presence under a topic, or remove it if None is given."""
        self._by_topic.pop(topic, None)
        if presence is not None:
            self._by_topic[topic] = presence

    def clear(self) -> list[str]:
        """Forget all presences; return the topics under which the client was present."""
        topics = list(self._by_topic)
        self._by_topic.clear()
        return topics

    def mark_unconfirmed(self, topic: str) -> bool:
        """Note that Redis may have another entry; return True if the caller has to restore ours."""
        is_new = topic not in self._unconfirmed
        self._unconfirmed.add(topic)
        return is_new

    def confirm(self, topic: str) -> None:
        """Note that Redis has the client's present entry."""
        self._unconfirmed.discard(topic)
