"""Effects: what a session has decided. The connection carries effects out, in order."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.session.presence import Presence, State
from gateway.wire.events import Ref, Refused, ServerEvent
from realtime.channels import Channel
from realtime.errors import CLOSE_CODE
from realtime.publications import Position


@dataclass(frozen=True, slots=True)
class Say:
    """Send an event to the client."""

    event: ServerEvent


@dataclass(frozen=True, slots=True)
class Join:
    """Subscribe the client to a channel, from `since` on if that is given; then `Session.joined`."""

    channel: Channel
    since: Position | None
    ref: Ref | None


@dataclass(frozen=True, slots=True)
class Leave:
    """Unsubscribe the client from a channel."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish a line to all subscribers of a channel; then `Session.write_acknowledged` or `write_failed`."""

    channel: Channel
    line: bytes
    ref: Ref | None


@dataclass(frozen=True, slots=True)
class SetPresence:
    """Set the client's entry under a topic as it is now, or remove it; then as after `Publish`."""

    presence: Presence
    before: State | None
    ref: Ref | None


@dataclass(frozen=True, slots=True)
class Verify:
    """Check a token; then `Session.verified`."""

    token: str
    ref: Ref | None


@dataclass(frozen=True, slots=True)
class Close:
    """Tell the client why, and close the connection with the code that belongs to this refusal."""

    refusal: Refused

    @property
    def code(self) -> int:
        return CLOSE_CODE[self.refusal.code]


Effect = Say | Join | Leave | Publish | SetPresence | Verify | Close
