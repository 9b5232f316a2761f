"""What a client asks for, in whatever protocol: a codec reads commands, the session decides about them.

Names of channels and positions are the text that the client sent; the session says whether they are valid.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.wire.events import Ref, Refused


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Deliver a channel to the client, after what it missed since a position, if it names one."""

    channel: str
    since: str | None = None
    filter: str | None = None
    ref: Ref | None = None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Deliver a channel to the client no more."""

    channel: str
    ref: Ref | None = None


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Publish a payload, which is JSON text, to the subscribers of a channel."""

    channel: str
    payload: bytes
    to_self: bool = True
    ref: Ref | None = None


@dataclass(frozen=True, slots=True)
class UpdatePresence:
    """Be present with a state, which is JSON text, or no longer be present. No channel is the project."""

    state: bytes | None
    channel: str | None = None
    ref: Ref | None = None


@dataclass(frozen=True, slots=True)
class Ping:
    """Answer that the connection works."""

    ref: Ref | None = None


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Use a newer token from now on."""

    token: str
    ref: Ref | None = None


@dataclass(frozen=True, slots=True)
class Malformed:
    """A message that means nothing, and the answer to it."""

    refusal: Refused


ClientCommand = Subscribe | Unsubscribe | Broadcast | UpdatePresence | Ping | Authenticate | Malformed
