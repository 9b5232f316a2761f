"""REST about all nodes: their clients and channels, and how to disconnect clients."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from gateway.fleet.fleet import ClientsWanted
from gateway.fleet.messages import AskDisconnect, Client
from gateway.fleet.paging import START, parse_cursor
from gateway.http.context import Call
from gateway.http.fleet_bodies import (
    ChannelEntry,
    ChannelsQuery,
    ChannelsResponse,
    ClientEntry,
    ClientsQuery,
    ClientsResponse,
    DisconnectRequest,
    DisconnectResponse,
)
from realtime.errors import ClientError, Code
from realtime.logs.setup import get_logger

log = get_logger(__name__)


async def clients(call: Call) -> ClientsResponse:
    """List the clients that are connected now, by node."""
    query: ClientsQuery = call.query
    after = START if query.after is UNSET else parse_cursor(query.after)
    if after is None:
        raise ClientError(Code.INVALID_REQUEST, "after: not the `next` of an answer")
    wanted = ClientsWanted(
        limit=query.limit,
        after=after,
        user_id=None if query.user_id is UNSET else query.user_id,
        node=None if query.node is UNSET else query.node,
    )
    found = await call.services.fleet.clients(call.tenant.project_id, wanted)
    page = found.value
    return ClientsResponse(
        clients=[_entry(node, client) for node, client in page.clients],
        next=None if page.next is None else str(page.next),
        missing=found.missing,
    )


def _entry(node: str, client: Client) -> ClientEntry:
    return ClientEntry(node=node, **msgspec.structs.asdict(client))


async def channels(call: Call) -> ChannelsResponse:
    """List the channels that have subscribers."""
    query: ChannelsQuery = call.query
    found = await call.services.fleet.channels(call.tenant.project_id, query.after, query.prefix, query.limit)
    page = found.value
    return ChannelsResponse(
        channels=[ChannelEntry(channel=name, subscribers=number) for name, number in page.channels],
        next=page.next,
        missing=found.missing,
    )


async def disconnect(call: Call) -> DisconnectResponse:
    """Close one connection, or all connections of a user."""
    body: DisconnectRequest = call.body
    if (body.connection_id is UNSET) == (body.user_id is UNSET):
        raise ClientError(Code.INVALID_REQUEST, "connection_id: give either connection_id or user_id")
    question = AskDisconnect(
        connection_id=None if body.connection_id is UNSET else body.connection_id,
        user_id=None if body.user_id is UNSET else body.user_id,
        reconnect=body.reconnect,
    )
    found = await call.services.fleet.disconnect(call.tenant.project_id, question)
    log.info(
        "clients_disconnected",
        project=call.tenant.project_id,
        connections_count=found.value,
        reconnect=body.reconnect,
    )
    return DisconnectResponse(disconnected=found.value, missing=found.missing)
