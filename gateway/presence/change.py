"""One change of a presence entry, and the names under which Redis has connections and their entries.

The name of a connection begins with the incarnation of its node: `INCARNATION/CONNECTION`, in the topic's
hash of members and in the project's hash of open connections. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass


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
