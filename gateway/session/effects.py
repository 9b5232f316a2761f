"""What is left to do when the rules have decided; the connection carries it out, in order."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.wire.native import Error, Ref, ServerMessage
from realtime.channels import Channel
from realtime.errors import CLOSE_CODE
from realtime.publications import Position


@dataclass(frozen=True, slots=True)
class Presence:
    """What a client is present with: its state as it came, and since when (seconds since 1970)."""

    state: bytes
    joined_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Say:
    """Send this to the client."""

    message: ServerMessage


@dataclass(frozen=True, slots=True)
class Join:
    """Let the client hear a channel, from `since` on if that is given; then `Session.joined`."""

    channel: Channel
    since: Position | None
    ref: Ref | None


@dataclass(frozen=True, slots=True)
class Leave:
    """Let the client hear a channel no more."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class Publish:
    """Let everyone who listens to a channel hear this line; then `Session.told`."""

    channel: Channel
    line: bytes
    ref: Ref | None


@dataclass(frozen=True, slots=True)
class SetPresence:
    """Let the client be present under a topic with this entry, or no more; then `Session.told`."""

    topic: str
    entry: bytes | None
    before: Presence | None
    ref: Ref | None


@dataclass(frozen=True, slots=True)
class Verify:
    """Check a token; then `Session.verified`."""

    token: str
    ref: Ref | None


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection with the code that belongs to this error, after saying it."""

    error: Error

    @property
    def code(self) -> int:
        return CLOSE_CODE[self.error.code]


Effect = Say | Join | Leave | Publish | SetPresence | Verify | Close
