"""One presence: which connection is present under which topic, and the name of the presence in Redis.

The name of a connection begins with the incarnation of its node: `INCARNATION/CONNECTION`, in the topic's
hash of members and in the project's hash of open connections. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from realtime.channels import TopicKey


@dataclass(frozen=True, slots=True)
class Member:
    """A connection that is present under a topic, under any incarnation of its node."""

    project: str
    topic: str
    connection_id: str

    @property
    def topic_key(self) -> TopicKey:
        return self.project, self.topic

    def change(self, incarnation: str, entry: bytes | None) -> Change:
        """Return the change that sets the entry under an incarnation of the node, or removes it if None."""
        return Change(field_of(incarnation, self.connection_id), entry)


@dataclass(frozen=True, slots=True)
class Change:
    """One presence entry to be set, or removed where `entry` is None; `field` is INCARNATION/CONNECTION."""

    field: str
    entry: bytes | None

    def is_under(self, incarnation: str) -> bool:
        return self.field.startswith(f"{incarnation}/")


def field_of(incarnation: str, connection_id: str) -> str:
    """Return the name of a connection in Redis."""
    return f"{incarnation}/{connection_id}"


def fields_under(incarnation: str) -> str:
    """Return the pattern of the names of all connections under an incarnation."""
    return f"{incarnation}/*"
