"""The REST endpoints about people: broadcasts, presence, the connection history."""

from __future__ import annotations

import re
import time

import msgspec

from gateway.presence import Roster
from gateway.rest_call import Call
from gateway.rest_types import (
    BroadcastMessage,
    BroadcastRequest,
    BroadcastResponse,
    ConnectionEvent,
    ConnectionsResponse,
)
from realtime.channels import Channel, parse_broadcast_channel, presence_topic
from realtime.errors import ClientError, Code
from realtime.people import kept_user
from realtime.publications import Sender, broadcast_line
from realtime.timestamps import rfc3339

DEFAULT_EVENTS = 50
MAX_EVENTS = 1_000


async def broadcast(call: Call) -> BroadcastResponse:
    """Send messages to all subscribers of channels."""
    body: BroadcastRequest = call.body
    said: list[tuple[Channel, bytes]] = []
    messages = _messages(body)
    sender, now = Sender(None, call.identity.user_id), rfc3339(time.time())
    for index, message in enumerate(messages):
        channel = _channel(message, f"messages[{index}].channel" if body.messages else "channel")
        if len(message.payload) > call.tenant.limits.max_message_bytes:
            raise ClientError(Code.MESSAGE_TOO_BIG, f"payload of {message.channel}: too big")
        said.append((channel, broadcast_line(bytes(message.payload), sender, now, to_self=True)))
    await call.services.voice.publish(call.tenant, *said)
    return BroadcastResponse(accepted=len(messages))


def _messages(body: BroadcastRequest) -> list[BroadcastMessage]:
    if body.messages is not None:
        if body.channel is not None or body.payload:
            raise ClientError(Code.INVALID_REQUEST, "messages: give either it or channel and payload")
        return body.messages
    if body.channel is None:
        raise ClientError(Code.INVALID_REQUEST, "channel: missing")
    if not body.payload:
        raise ClientError(Code.INVALID_REQUEST, "payload: missing")
    return [BroadcastMessage(channel=body.channel, payload=body.payload)]


def _channel(message: BroadcastMessage, field: str) -> Channel:
    try:
        return parse_broadcast_channel(message.channel)
    except ClientError as error:
        if error.code is Code.FORBIDDEN:
            raise
        raise ClientError(Code.INVALID_REQUEST, f"{field}: {error.message}") from error


async def presence(call: Call) -> msgspec.Raw:
    """Tell who is present in the project, or under a channel."""
    try:
        topic = presence_topic(call.query.get("channel"))
    except ClientError as error:
        raise ClientError(Code.INVALID_REQUEST, f"channel: {error.message}") from error
    _, members = await call.services.people.members(call.tenant.project_id, topic)
    dead = {life.encode() for life, report in (await call.services.people.lives()).items() if report is None}
    roster = Roster(topic)
    roster.replace({f: entry for f, entry in members.items() if f.partition(b"/")[0] not in dead})
    entries = roster.entries()
    # Entries are passed on as they are, so that states keep every digit.
    return msgspec.Raw(b'{"count":%d,"presences":[%b]}' % (len(entries), b",".join(entries)))


async def connections(call: Call) -> ConnectionsResponse:
    """Tell who connected and disconnected, newest first."""
    limit = _limit(call.query.get("limit"))
    before = _before(call.query.get("before"))
    event, user_id = call.query.get("event"), kept_user(call.query.get("user_id"))
    if event not in (None, "connect", "disconnect"):
        raise ClientError(Code.INVALID_REQUEST, "event: expected connect or disconnect")
    found: list[ConnectionEvent] = []
    while len(found) <= limit:
        page = await call.services.people.history(call.tenant.project_id, before)
        for entry_id, facts in page:
            if event in (None, facts.get("event")) and user_id in (None, facts.get("user_id")):
                found += _connection_events(entry_id, facts)
        if not page:
            break
        before = page[-1][0]
    more = len(found) > limit
    return ConnectionsResponse(connections=found[:limit], next=found[limit - 1].id if more else None)


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_EVENTS
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= MAX_EVENTS:
        raise ClientError(Code.INVALID_REQUEST, f"limit: expected 1 to {MAX_EVENTS}")
    return int(text)


def _before(text: str | None) -> str | None:
    if text is None:
        return None
    if not (cursor := re.fullmatch(r"([0-9]{1,15})-([0-9]{1,15})", text)):
        raise ClientError(Code.INVALID_REQUEST, "before: not a cursor of this endpoint")
    # Nothing is before 0-0, and Redis refuses to be asked.
    return text if any(map(int, cursor.groups())) else "0-1"


def _connection_events(entry_id: str, facts: dict[str, object]) -> list[ConnectionEvent]:
    """The event that an entry tells of; none of an entry that no gateway wrote."""
    at = facts.pop("at", None)
    if not isinstance(at, float | int):
        return []
    try:
        return [msgspec.convert(facts | {"id": entry_id, "timestamp": rfc3339(at)}, ConnectionEvent)]
    except (ValueError, OverflowError):
        return []
