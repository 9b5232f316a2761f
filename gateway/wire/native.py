"""The codec of our own wire protocol: a text frame holds one JSON object of a type in `native_messages`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar, assert_never

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from gateway.timestamps import rfc3339
from gateway.wire.commands import (
    Authenticate,
    Broadcast,
    ClientCommand,
    Malformed,
    Ping,
    Subscribe,
    Unsubscribe,
    UpdatePresence,
)
from gateway.wire.events import (
    Acknowledged,
    Closing,
    Joined,
    Left,
    Pong,
    PresenceChange,
    PresenceChanged,
    Reauthenticated,
    Refused,
    Resync,
    ServerEvent,
    Welcomed,
)
from gateway.wire.frames import LineFrame, header, text_frame
from gateway.wire.native_messages import (
    AnyClientMessage,
    ClientAuth,
    ClientBroadcast,
    ClientPing,
    ClientPresence,
    ClientSubscribe,
    ClientUnsubscribe,
    ServerAck,
    ServerAuthenticated,
    ServerConnected,
    ServerError,
    ServerMessage,
    ServerPong,
    ServerReconnect,
    ServerResync,
    ServerSubscribed,
    ServerUnsubscribed,
    WireRef,
)
from realtime.channels import Channel
from realtime.errors import Code
from realtime.publications import NOT_TO_SENDER, Publication

ValueT = TypeVar("ValueT")

_Composed = Welcomed | Joined | Left | Pong | Acknowledged | Reauthenticated | Resync | Closing | Refused

NULL = b"null"

_encode_message = msgspec.json.Encoder().encode
_decode_message = msgspec.json.Decoder(AnyClientMessage).decode


class NativeCodec:
    """The codec of our own wire protocol."""

    def __repr__(self) -> str:
        return "<NativeCodec>"

    def decode(self, text: str) -> ClientCommand:
        """Read one text frame of a client; an invalid message becomes Malformed."""
        try:
            message: AnyClientMessage = _decode_message(text)
        except msgspec.ValidationError as error:
            return Malformed(_explain(text, str(error)))
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
            return Malformed(_not_json(error))
        return _command(message)

    def encode(self, event: ServerEvent) -> bytes:
        """Encode one event as a text frame."""
        if isinstance(event, PresenceChanged):
            return text_frame(_presence(event))
        return text_frame(_encode_message(_message(event)))

    def encode_lines(
        self, channel: Channel, publication: Publication, numbers: Iterable[int]
    ) -> Iterator[LineFrame]:
        """Encode these lines as text frames, each with the channel's name and the message's id."""
        return _message_frames(channel, publication, numbers)


def _message_frames(
    channel: Channel, publication: Publication, numbers: Iterable[int]
) -> Iterator[LineFrame]:
    """Yield these lines of a publication as message frames of a channel."""
    kind = b"realtime" if channel.table else b"broadcast"
    head = b'{"type":"' + kind + b'","channel":' + _encode_message(channel.name) + b","
    tail = b',"id":"' + publication.epoch.encode() + b"-"
    fixed = len(head) + len(tail) + len(b'"}')
    lines, first = publication.lines, publication.first
    for number in numbers:
        line = lines[number]
        body = line[1:] if line[:1] != NOT_TO_SENDER else line[line.index(b" ") + 1 :]
        offset = first + number
        digits = b"%d" % offset
        head_of_frame = header(fixed + len(body) + len(digits))
        length = len(head_of_frame) + fixed + len(body) + len(digits)
        yield offset, length, (head_of_frame, head, body, tail, digits, b'"}')


def _command(message: AnyClientMessage) -> ClientCommand:
    """Convert a message to a command."""
    match message:
        case ClientSubscribe():
            return Subscribe(message.channel, message.since, _filter(message.filter), message.ref)
        case ClientUnsubscribe():
            return Unsubscribe(message.channel, message.ref)
        case ClientBroadcast():
            to_self = message.to_self is not False
            return Broadcast(message.channel, bytes(message.payload), to_self, message.ref)
        case ClientPresence():
            state = bytes(message.state)
            return UpdatePresence(None if state == NULL else state, message.channel, message.ref)
        case ClientPing():
            return Ping(message.ref)
        case ClientAuth():
            return Authenticate(message.token, message.ref)
        case _:
            assert_never(message)


def _filter(raw: Raw) -> str | None:
    """Return a filter's text; for other JSON return the JSON text, which is not a valid filter."""
    if bytes(raw) == NULL:
        return None
    text: str | None = _read(raw, str)
    return bytes(raw).decode() if text is None else text


def _message(event: _Composed) -> ServerMessage:
    """Convert an event to a message."""
    match event:
        case Welcomed():
            return _connected(event)
        case Joined():
            return _subscribed(event)
        case Left():
            return ServerUnsubscribed(channel=event.channel, ref=_set(event.ref))
        case Pong():
            return ServerPong(timestamp=rfc3339(event.at), ref=_set(event.ref))
        case Acknowledged():
            return ServerAck(ref=event.ref)
        case Reauthenticated():
            return ServerAuthenticated(expires_at=rfc3339(event.expires_at), ref=_set(event.ref))
        case Resync():
            return ServerResync(channel=event.channel, position=str(event.position))
        case Closing():
            return ServerReconnect(reason=event.reason, after_ms=event.after_ms)
        case Refused():
            return ServerError(
                code=event.code, message=event.message, ref=_set(event.ref), channel=_set(event.channel)
            )
        case _:
            assert_never(event)


def _connected(event: Welcomed) -> ServerConnected:
    seconds = event.heartbeat_seconds
    return ServerConnected(
        connection_id=event.connection_id,
        project_id=event.project_id,
        user_id=event.user_id,
        expires_at=rfc3339(event.expires_at),
        heartbeat_seconds=int(seconds) if seconds % 1 == 0 else seconds,
    )


def _subscribed(event: Joined) -> ServerSubscribed:
    return ServerSubscribed(
        channel=event.channel.name,
        position=str(event.position),
        recovered=event.recovered,
        enabled=UNSET if event.channel.table is None else event.enabled,
        ref=_set(event.ref),
    )


def _presence(event: PresenceChanged) -> bytes:
    more = b""
    if event.change is PresenceChange.SYNC:
        more = b',"more":true' if event.more else b',"more":false'
    head = b'{"type":"presence","channel":' + _encode_message(event.channel)
    head += b',"event":"' + event.change.encode() + b'","presences":['
    return head + b",".join(event.entries) + b"]" + more + b"}"


def _set(value: ValueT | None) -> ValueT | UnsetType:
    return UNSET if value is None else value


class _Outline(Struct, frozen=True):
    type: Raw = Raw(NULL)
    ref: Raw = Raw(NULL)
    channel: Raw = Raw(NULL)


_skip = msgspec.json.Decoder(Raw).decode  # parses the whole text without building objects
_decode_outline = msgspec.json.Decoder(_Outline).decode


def _explain(text: str, reason: str) -> Refused:
    """Build the refusal of an invalid message, with its type, ref and channel if they can be read."""
    try:
        outline = _decode_outline(text)
    except msgspec.ValidationError:
        return _not_an_object(text)
    except (msgspec.DecodeError, RecursionError) as error:
        return _not_json(error)
    kind = _read(outline.type, str)
    unknown = kind is not None and reason.startswith("Invalid value")
    return Refused(
        Code.UNKNOWN_TYPE if unknown else Code.INVALID_MESSAGE,
        f"there is no message type {kind!a:.80}" if unknown else _in_our_words(reason),
        _read(outline.ref, WireRef),
        _read(outline.channel, str),
    )


def _not_an_object(text: str) -> Refused:
    try:
        _skip(text)
    except msgspec.ValidationError:
        pass
    except (msgspec.DecodeError, RecursionError) as error:
        return _not_json(error)
    return Refused(Code.INVALID_MESSAGE, "a message is a JSON object")


def _not_json(error: Exception) -> Refused:
    return Refused(Code.INVALID_JSON, f"not JSON: {error}")


def _read(raw: Raw, kind: Any) -> Any:
    """Return the decoded value if it is of this type, else None."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.DecodeError:
        return None


def _in_our_words(reason: str) -> str:
    return reason.replace("Object missing required field", "missing field").replace("$.", "")
