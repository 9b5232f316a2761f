"""Commands of clients, the same for all wire protocols: a codec reads them, the session decides about them.

Channel names and positions are the text that the client sent; the session validates them.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.wire.events import Ref, Refused


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Deliver a channel to the client, beginning with what it missed since a position, if there is one."""

    channel: str
    since: str | None = None
    filter: str | None = None
    ref: Ref | None = None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Stop the delivery of a channel to the client."""

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
    """Be present with a state (JSON text), or leave (None); without a channel, in the whole project."""

    state: bytes | None
    channel: str | None = None
    ref: Ref | None = None


@dataclass(frozen=True, slots=True)
class Ping:
    """Ask for a Pong, which shows that the connection works."""

    ref: Ref | None = None


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Use a newer token from now on."""

    token: str
    ref: Ref | None = None


@dataclass(frozen=True, slots=True)
class Malformed:
    """A message that is not valid, and the refusal to answer with."""

    refusal: Refused


ClientCommand = Subscribe | Unsubscribe | Broadcast | UpdatePresence | Ping | Authenticate | Malformed
