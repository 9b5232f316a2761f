"""What a client may say and what it may hear, a small type per message.

The session reads the first group and answers with the second. Wire names stand only here, and in
`publications`, where a change is composed around the text that Postgres wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from realtime.errors import Code

Ref = Annotated[str, Meta(max_length=64)] | int


class ClientMessage(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Anything that a client may say."""

    ref: Ref | None = None


class Subscribe(ClientMessage, tag="subscribe", frozen=True, kw_only=True):
    channel: str
    since: str | None = None
    filter: Raw = Raw(b"null")


class Unsubscribe(ClientMessage, tag="unsubscribe", frozen=True, kw_only=True):
    channel: str


class Ping(ClientMessage, tag="ping", frozen=True, kw_only=True):
    pass


class Auth(ClientMessage, tag="auth", frozen=True, kw_only=True):
    token: str


class Broadcast(ClientMessage, tag="broadcast", frozen=True, kw_only=True):
    channel: str
    payload: Raw
    to_self: bool | None = field(name="self", default=None)


class Presence(ClientMessage, tag="presence", frozen=True, kw_only=True):
    state: Raw
    channel: str | None = None


AnyClientMessage = Subscribe | Unsubscribe | Broadcast | Presence | Ping | Auth


class ServerMessage(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Anything that the server may say, but for the changes themselves."""


class Connected(ServerMessage, tag="connected", frozen=True, kw_only=True):
    connection_id: str
    project_id: str
    user_id: str | None
    expires_at: str
    heartbeat_seconds: float | int


class Subscribed(ServerMessage, tag="subscribed", frozen=True, kw_only=True):
    channel: str
    position: str
    recovered: bool = False
    enabled: bool | UnsetType | None = UNSET
    ref: Ref | UnsetType = UNSET


class Unsubscribed(ServerMessage, tag="unsubscribed", frozen=True, kw_only=True):
    channel: str
    ref: Ref | UnsetType = UNSET


class Pong(ServerMessage, tag="pong", frozen=True, kw_only=True):
    timestamp: str
    ref: Ref | UnsetType = UNSET


class Ack(ServerMessage, tag="ack", frozen=True, kw_only=True):
    ref: Ref


class Authenticated(ServerMessage, tag="authenticated", frozen=True, kw_only=True):
    expires_at: str
    ref: Ref | UnsetType = UNSET


class Resync(ServerMessage, tag="resync", frozen=True, kw_only=True):
    channel: str
    position: str


class Reconnect(ServerMessage, tag="reconnect", frozen=True, kw_only=True):
    reason: Literal["draining"]
    after_ms: int


class Error(ServerMessage, tag="error", frozen=True, kw_only=True):
    code: Code
    message: str
    ref: Ref | UnsetType = UNSET
    channel: str | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class BadMessage:
    """A client's message that means nothing: the answer to it."""

    error: Error


encode = msgspec.json.Encoder().encode
_decode_message = msgspec.json.Decoder(AnyClientMessage).decode


def decode(text: str) -> AnyClientMessage | BadMessage:
    """Read one text frame of a client; whatever is wrong with it becomes a BadMessage."""
    try:
        message: AnyClientMessage = _decode_message(text)
        return message
    except msgspec.ValidationError as error:
        return _explain(text, str(error))
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        return _not_json(error)


class _Outline(Struct, frozen=True):
    type: Raw = Raw(b"null")
    ref: Raw = Raw(b"null")
    channel: Raw = Raw(b"null")


_skip = msgspec.json.Decoder(Raw).decode  # reads to the end, and builds nothing
_decode_outline = msgspec.json.Decoder(_Outline).decode


def _explain(text: str, reason: str) -> BadMessage:
    """Find out what of a wrong message can still be told: its type, its ref and its channel."""
    try:
        outline = _decode_outline(text)
    except msgspec.ValidationError:
        return _not_an_object(text)
    except (msgspec.DecodeError, RecursionError) as error:
        return _not_json(error)
    kind = _read(outline.type, str)
    unknown = kind is not None and reason.startswith("Invalid value")
    ref, channel = _read(outline.ref, Ref), _read(outline.channel, str)
    return BadMessage(
        Error(
            code=Code.UNKNOWN_TYPE if unknown else Code.INVALID_MESSAGE,
            message=f"there is no message type {kind!a:.80}" if unknown else _in_our_words(reason),
            ref=UNSET if ref is None else ref,
            channel=UNSET if channel is None else channel,
        )
    )


def _not_an_object(text: str) -> BadMessage:
    try:
        _skip(text)
    except msgspec.ValidationError:
        pass
    except (msgspec.DecodeError, RecursionError) as error:
        return _not_json(error)
    return BadMessage(Error(code=Code.INVALID_MESSAGE, message="a message is a JSON object"))


def _not_json(error: Exception) -> BadMessage:
    return BadMessage(Error(code=Code.INVALID_JSON, message=f"not JSON: {error}"))


def _read(raw: Raw, kind: Any) -> Any:
    """Return the value if it is of this kind, else None."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.DecodeError:
        return None


def _in_our_words(reason: str) -> str:
    return reason.replace("Object missing required field", "missing field").replace("$.", "")
