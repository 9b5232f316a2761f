"""The messages of our own wire protocol, a small type each: first those of clients, then those of the server.

`native` converts client messages to commands, and events to server messages. Names on the wire appear only
here, in `native`, and where JSON is written around unparsed text: `frames`, `publications` and `entries`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from realtime.errors import Code

WireRef = Annotated[str, Meta(max_length=64)] | int


class ClientMessage(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Any message of a client."""

    ref: WireRef | None = None


class ClientSubscribe(ClientMessage, tag="subscribe", frozen=True, kw_only=True):
    channel: str
    since: str | None = None
    filter: Raw = Raw(b"null")


class ClientUnsubscribe(ClientMessage, tag="unsubscribe", frozen=True, kw_only=True):
    channel: str


class ClientPing(ClientMessage, tag="ping", frozen=True, kw_only=True):
    pass


class ClientAuth(ClientMessage, tag="auth", frozen=True, kw_only=True):
    token: str


class ClientBroadcast(ClientMessage, tag="broadcast", frozen=True, kw_only=True):
    channel: str
    payload: Raw
    to_self: bool | None = field(name="self", default=None)


class ClientPresence(ClientMessage, tag="presence", frozen=True, kw_only=True):
    state: Raw
    channel: str | None = None


AnyClientMessage = (
    ClientSubscribe | ClientUnsubscribe | ClientBroadcast | ClientPresence | ClientPing | ClientAuth
)


class ServerMessage(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Any message of the server, except changes, broadcasts and presence."""


class ServerConnected(ServerMessage, tag="connected", frozen=True, kw_only=True):
    connection_id: str
    project_id: str
    user_id: str | None
    expires_at: str
    heartbeat_seconds: float | int


class ServerSubscribed(ServerMessage, tag="subscribed", frozen=True, kw_only=True):
    channel: str
    position: str
    recovered: bool = False
    enabled: bool | UnsetType | None = UNSET
    ref: WireRef | UnsetType = UNSET


class ServerUnsubscribed(ServerMessage, tag="unsubscribed", frozen=True, kw_only=True):
    channel: str
    ref: WireRef | UnsetType = UNSET


class ServerPong(ServerMessage, tag="pong", frozen=True, kw_only=True):
    timestamp: str
    ref: WireRef | UnsetType = UNSET


class ServerAck(ServerMessage, tag="ack", frozen=True, kw_only=True):
    ref: WireRef


class ServerAuthenticated(ServerMessage, tag="authenticated", frozen=True, kw_only=True):
    expires_at: str
    ref: WireRef | UnsetType = UNSET


class ServerResync(ServerMessage, tag="resync", frozen=True, kw_only=True):
    channel: str
    position: str


class ServerReconnect(ServerMessage, tag="reconnect", frozen=True, kw_only=True):
    reason: Literal["draining", "disconnected"]
    after_ms: int


class ServerError(ServerMessage, tag="error", frozen=True, kw_only=True):
    code: Code
    message: str
    ref: WireRef | UnsetType = UNSET
    channel: str | UnsetType = UNSET
