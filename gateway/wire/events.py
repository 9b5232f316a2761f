"""What a client is told, in whatever protocol: session, hub and delivery make events, a codec writes them.

Times are seconds since 1970. Changes and broadcasts are no events: their frames are made of the lines that
Redis publishes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from realtime.channels import Channel
from realtime.errors import Code
from realtime.publications import Position

Ref = str | int  # with which a client marks a command, and the answer to it


@dataclass(frozen=True, slots=True)
class Welcomed:
    """The client was let in."""

    connection_id: str
    project_id: str
    user_id: str | None
    expires_at: float
    heartbeat_seconds: float


@dataclass(frozen=True, slots=True)
class Joined:
    """The client is subscribed: what follows `position` follows this event."""

    channel: Channel
    position: Position
    recovered: bool
    enabled: bool | None = None  # of a table: whether realtime is on for it; None if nobody knows now
    ref: Ref | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """The client is not subscribed any more."""

    channel: str
    ref: Ref | None = None


@dataclass(frozen=True, slots=True)
class Pong:
    """The connection works."""

    at: float
    ref: Ref | None = None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Redis has what the client published."""

    ref: Ref


@dataclass(frozen=True, slots=True)
class Reauthenticated:
    """A newer token is in force."""

    expires_at: float
    ref: Ref | None = None


@dataclass(frozen=True, slots=True)
class Resync:
    """Messages of a channel were lost; from `position` on nothing is missing."""

    channel: str
    position: Position


class PresenceChange(StrEnum):
    """What a list of presence entries means."""

    SYNC = "sync"  # the list of all, or a part of it
    JOIN = "join"
    UPDATE = "update"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    """Who is present under a channel, or who came, changed and went; entries as Redis has them."""

    channel: str
    change: PresenceChange
    entries: Sequence[bytes]
    more: bool = False  # of a SYNC: other parts follow


@dataclass(frozen=True, slots=True)
class Closing:
    """The node drains, and closes the connection in `after_ms`; another node takes the client then."""

    after_ms: int


@dataclass(frozen=True, slots=True)
class Refused:
    """What the client asked for is not done, or its connection ends."""

    code: Code
    message: str
    ref: Ref | None = None
    channel: str | None = None


ServerEvent = (
    Welcomed
    | Joined
    | Left
    | Pong
    | Acknowledged
    | Reauthenticated
    | Resync
    | PresenceChanged
    | Closing
    | Refused
)
