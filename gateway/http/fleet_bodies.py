"""Bodies and queries of the REST endpoints about all nodes and their clients, one small type each."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.fleet.paging import CURSOR
from realtime.channels import MAX_CHANNEL_BYTES

MAX_PAGE = 1_000
MAX_TEXT = 8_192  # of a user id: no token is longer

Missing = Annotated[list[str], Meta(description="Nodes that did not answer in time")]
Limit = Annotated[int, Meta(ge=1, le=MAX_PAGE, description="Largest number of entries in the answer")]


class NodeStats(Struct, frozen=True, kw_only=True):
    """Counters are of the project's clients, since the node started."""

    id: str
    version: str
    started_at: str
    draining: bool
    connections: int
    subscriptions: int
    channels: int
    messages_in: int
    messages_out: int
    bytes_out: int
    queue_bytes: int
    slow_consumers: int
    errors: int


class NotifierStats(Struct, frozen=True, kw_only=True):
    status: Literal["live", "down"]
    node: str | None
    pending: int | None
    lag_seconds: float | None
    changes: Annotated[int, Meta(description="Changes published since the notifier started")] | None


class ProblemEntry(Struct, frozen=True, kw_only=True):
    """Something that is wrong now, and what to do about it."""

    code: str
    severity: Literal["error", "warning"]
    message: str
    action: str
    docs: Annotated[str, Meta(description="Section of the documentation")]


class StatsResponse(Struct, frozen=True, kw_only=True):
    timestamp: str
    nodes: list[NodeStats]
    notifier: NotifierStats
    missing: Missing
    problems: list[ProblemEntry]


class ClientsQuery(Struct, frozen=True, kw_only=True):
    limit: Limit = 50
    after: (
        Annotated[str, Meta(pattern=f"^{CURSOR.pattern}$", description="`next` of the previous answer")]
        | UnsetType
    ) = UNSET
    user_id: Annotated[str, Meta(description="Only clients of this user")] | UnsetType = UNSET
    node: Annotated[str, Meta(description="Only clients of this node")] | UnsetType = UNSET


class ClientEntry(Struct, frozen=True, kw_only=True):
    """An open connection."""

    connection_id: str
    user_id: str | None
    role: str
    ip: str
    user_agent: str | None
    node: str
    connected_at: str
    expires_at: str
    subscriptions: Annotated[list[str], Meta(description="The first channels, as the client spelled them")]
    subscription_count: Annotated[int, Meta(description="Number of all channels")]
    queue_bytes: int
    messages_in: int
    messages_out: int


class ClientsResponse(Struct, frozen=True, kw_only=True):
    """Clients in the order of nodes and connection ids; a page may be shorter than `limit`."""

    clients: list[ClientEntry]
    next: str | None
    missing: Missing


class ChannelsQuery(Struct, frozen=True, kw_only=True):
    limit: Limit = 50
    after: Annotated[str, Meta(max_length=MAX_CHANNEL_BYTES, description="`next` of the previous answer")] = (
        ""
    )
    prefix: Annotated[str, Meta(max_length=MAX_CHANNEL_BYTES, description="Only channels that begin so")] = ""


class ChannelEntry(Struct, frozen=True, kw_only=True):
    channel: str
    subscribers: int


class ChannelsResponse(Struct, frozen=True, kw_only=True):
    """Channels in the order of their names."""

    channels: list[ChannelEntry]
    next: str | None
    missing: Missing


Reconnect = Annotated[bool, Meta(description="Ask the clients to come back: close 1012 in place of 4410")]
ConnectionId = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]
UserId = Annotated[str, Meta(max_length=MAX_TEXT)]


class DisconnectConnection(Struct, frozen=True, kw_only=True):
    """One connection."""

    connection_id: ConnectionId
    reconnect: Reconnect = False


class DisconnectUser(Struct, frozen=True, kw_only=True):
    """All connections of a user."""

    user_id: UserId
    reconnect: Reconnect = False


class DisconnectRequest(Struct, frozen=True, kw_only=True):
    """Either a connection or a user: `DISCONNECT_FORMS`."""

    connection_id: ConnectionId | UnsetType = UNSET
    user_id: UserId | UnsetType = UNSET
    reconnect: Reconnect = False


DISCONNECT_FORMS = (DisconnectConnection, DisconnectUser)


class DisconnectResponse(Struct, frozen=True, kw_only=True):
    disconnected: int
    missing: Missing
