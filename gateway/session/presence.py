"""The presences of one client: one record for each topic, and the rules of them. Pure.

The session decides with a record, its effects hand the record on, and the presence writer writes the record's
entry to Redis. The quota of the project keeps on the record how many bytes it counts for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.wire.entries import presence_entry
from realtime.channels import TopicKey
from realtime.errors import ClientError, Code
from realtime.settings.config import Limits


@dataclass(frozen=True, slots=True)
class State:
    """What a client is present with: an object as received, whose it is, and times (seconds since 1970)."""

    json: bytes
    user_id: str | None
    joined_at: float
    updated_at: float


@dataclass(slots=True, eq=False)
class Presence:
    """The presence of one connection under one topic."""

    project: str
    topic: str
    connection_id: str
    state: State | None = field(default=None, init=False)  # None: the client is not present here, or gone
    is_confirmed: bool = field(default=True, init=False)  # False: Redis may have another entry than this one
    counted_bytes: int = field(default=0, init=False)  # that the project's quota counts; 0: nothing

    @property
    def topic_key(self) -> TopicKey:
        return self.project, self.topic

    def entry(self) -> bytes | None:
        """Return the entry as every client gets it; None if the client is not present here, or gone."""
        state = self.state
        if state is None:
            return None
        return presence_entry(
            self.connection_id, state.user_id, state.json, state.joined_at, state.updated_at
        )


class Presences:
    """All presences of one client."""

    __slots__ = ("_by_topic", "_connection_id", "_limits", "_project", "_user_id")

    def __init__(self, project: str, connection_id: str, user_id: str | None, limits: Limits) -> None:
        self._project = project
        self._connection_id = connection_id
        self._user_id = user_id
        self._limits = limits
        self._by_topic: dict[str, Presence] = {}  # where the client is present, or Redis is not confirmed

    def __repr__(self) -> str:
        unconfirmed = sum(not one.is_confirmed for one in self._by_topic.values())
        return f"<Presences in {len(self)} topics, {unconfirmed} unconfirmed>"

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Presence]:
        """Iterate over the topics where the client is present."""
        return (one for one in self._by_topic.values() if one.state is not None)

    @property
    def is_empty(self) -> bool:
        """Whether the client is present under no topic, and Redis has no entry of it either."""
        return not self._by_topic

    @property
    def state_bytes(self) -> int:
        """The size of all states."""
        return sum(len(one.state.json) for one in self._by_topic.values() if one.state is not None)

    def under(self, topic: str) -> Presence:
        """Return the client's presence under a topic; a new one if the client is settled absent."""
        return self._by_topic.get(topic) or Presence(self._project, topic, self._connection_id)

    def entry(self, topic: str) -> bytes | None:
        """Return the client's entry under a topic now; None if the client is not present there, or gone."""
        presence = self._by_topic.get(topic)
        return None if presence is None else presence.entry()

    def is_settled_absence(self, topic: str) -> bool:
        """Whether the client is not present under a topic, and Redis is known to have no entry either."""
        return topic not in self._by_topic

    def check(self, topic: str, state: bytes) -> None:
        """Raise ClientError unless the client may be present under a topic with this state."""
        if state[:1] != b"{":
            raise ClientError(Code.INVALID_MESSAGE, "state: expected an object or null")
        if len(state) > self._limits.max_state_bytes:
            raise ClientError(
                Code.MESSAGE_TOO_BIG, f"a state has {self._limits.max_state_bytes} bytes at most"
            )
        most = self._limits.max_channels_per_connection
        if topic not in self._by_topic and len(self._by_topic) >= most:
            raise ClientError(Code.TOO_MANY_CHANNELS, f"a connection is present in {most} channels at most")

    def update(self, presence: Presence, state: bytes | None, now: float) -> None:
        """Set what the client is present with, or end its presence; a newer state keeps its `joined_at`."""
        before = presence.state
        joined_at = now if before is None else before.joined_at
        self.put(presence, None if state is None else State(state, self._user_id, joined_at, now))

    def put(self, presence: Presence, state: State | None) -> None:
        """Give a presence this state."""
        presence.state = state
        self._keep_or_forget(presence)

    def clear(self) -> list[Presence]:
        """End all presences; return those that the client had."""
        had = list(self)
        for presence in had:
            self.put(presence, None)
        return had

    def mark_unconfirmed(self, presence: Presence) -> bool:
        """Note that Redis may have another entry; return True if the caller has to restore ours."""
        was_confirmed, presence.is_confirmed = presence.is_confirmed, False
        self._keep_or_forget(presence)
        return was_confirmed

    def confirm(self, presence: Presence) -> None:
        """Note that Redis has the client's present entry."""
        presence.is_confirmed = True
        self._keep_or_forget(presence)

    def _keep_or_forget(self, presence: Presence) -> None:
        """Clients choose topics as they like: a topic that a client has left is not remembered."""
        if presence.state is None and presence.is_confirmed:
            self._by_topic.pop(presence.topic, None)
        else:
            self._by_topic[presence.topic] = presence
