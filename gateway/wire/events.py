"""Events for clients, the same for all wire protocols; session, hub and delivery make them for a codec.

Times are seconds since 1970. Changes and broadcasts are not events: their frames are made from the lines that
Redis publishes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from realtime.channels import Channel
from realtime.errors import Code
from realtime.publications import Position

Ref = str | int  # a client's mark of a command, repeated in the answer


@dataclass(frozen=True, slots=True)
class Welcomed:
    """The connection was accepted."""

    connection_id: str
    project_id: str
    user_id: str | None
    expires_at: float
    heartbeat_seconds: float


@dataclass(frozen=True, slots=True)
class Joined:
    """The client is subscribed: the messages after `position` follow this event."""

    channel: Channel
    position: Position
    recovered: bool
    enabled: bool | None = None  # whether realtime is enabled for a table; None if unknown now
    ref: Ref | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """The client is no longer subscribed."""

    channel: str
    ref: Ref | None = None


@dataclass(frozen=True, slots=True)
class Pong:
    """The connection works."""

    at: float
    ref: Ref | None = None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Redis has the message that the client published."""

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
    """The meaning of a list of presence entries."""

    SYNC = "sync"  # the complete list, or a part of it
    JOIN = "join"
    UPDATE = "update"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    """Presence entries of a channel: the present list or a change; entries are as Redis has them."""

    channel: str
    change: PresenceChange
    entries: Sequence[bytes]
    more: bool = False  # for SYNC: more parts follow


@dataclass(frozen=True, slots=True)
class Closing:
    """The client should reconnect in `after_ms`: the node drains, or an administrator wants it."""

    after_ms: int
    reason: Literal["draining", "disconnected"] = "draining"


@dataclass(frozen=True, slots=True)
class Refused:
    """A command of the client was refused, or its connection is about to end."""

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
