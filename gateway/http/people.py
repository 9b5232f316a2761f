"""The REST endpoints about people: broadcasts, presence, the connection history."""

from __future__ import annotations

import time

import msgspec
from msgspec import UNSET

from gateway.http.bodies import (
    BroadcastMessage,
    BroadcastRequest,
    BroadcastResponse,
    ConnectionEvent,
    ConnectionsQuery,
    ConnectionsResponse,
    PresenceQuery,
)
from gateway.http.context import Call
from gateway.presence.connection_store import kept_user
from gateway.timestamps import rfc3339
from realtime.channels import Channel, parse_broadcast_channel, presence_topic
from realtime.errors import ClientError, Code
from realtime.publications import Sender, broadcast_line


async def broadcast(call: Call) -> BroadcastResponse:
    """Send messages to all subscribers of channels."""
    body: BroadcastRequest = call.body
    said: list[tuple[Channel, bytes]] = []
    messages = _messages(body)
    sender, now = Sender(None, call.identity.user_id), rfc3339(time.time())
    for index, message in enumerate(messages):
        channel = _channel(message, f"messages[{index}].channel" if body.messages is not UNSET else "channel")
        if len(message.payload) > call.tenant.limits.max_message_bytes:
            raise ClientError(Code.MESSAGE_TOO_BIG, f"payload of {message.channel}: too large")
        said.append((channel, broadcast_line(bytes(message.payload), sender, now, to_self=True)))
    await call.services.publisher.publish(call.tenant, *said)
    return BroadcastResponse(accepted=len(messages))


def _messages(body: BroadcastRequest) -> list[BroadcastMessage]:
    if body.messages is not UNSET:
        if body.channel is not UNSET or body.payload:
            raise ClientError(Code.INVALID_REQUEST, "messages: give either messages, or channel and payload")
        return body.messages
    if body.channel is UNSET:
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


async def presence(call: Call) -> bytes:
    """Tell who is present in the project, or under a channel."""
    query: PresenceQuery = call.query
    try:
        topic = presence_topic(None if query.channel is UNSET else query.channel)
    except ClientError as error:
        raise ClientError(Code.INVALID_REQUEST, f"channel: {error.message}") from error
    return await call.services.presence_lists.get((call.tenant.project_id, topic))


async def connections(call: Call) -> ConnectionsResponse:
    """Tell who connected and disconnected, newest first."""
    query: ConnectionsQuery = call.query
    before = None if query.before is UNSET else _before(query.before)
    user_id = UNSET if query.user_id is UNSET else kept_user(query.user_id)
    found: list[ConnectionEvent] = []
    while len(found) <= query.limit:
        page = await call.services.stores.connections.history(call.tenant.project_id, before)
        for entry_id, facts in page:
            if query.event in (UNSET, facts.get("event")) and user_id in (UNSET, facts.get("user_id")):
                found += _connection_events(entry_id, facts)
        if not page:
            break
        before = page[-1][0]
    page_of_answer, more = found[: query.limit], len(found) > query.limit
    return ConnectionsResponse(connections=page_of_answer, next=page_of_answer[-1].id if more else None)


def _before(cursor: str) -> str:
    # No entry is before 0-0, and Redis refuses a range that ends before 0-0.
    return cursor if any(map(int, cursor.split("-"))) else "0-1"


def _connection_events(entry_id: str, facts: dict[str, object]) -> list[ConnectionEvent]:
    """Return the event of a history entry; no event for an entry that no gateway wrote."""
    at = facts.pop("at", None)
    if not isinstance(at, float | int):
        return []
    try:
        return [msgspec.convert(facts | {"id": entry_id, "timestamp": rfc3339(at)}, ConnectionEvent)]
    except (ValueError, OverflowError):
        return []
