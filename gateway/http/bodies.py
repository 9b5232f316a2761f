"""Bodies and queries of the REST endpoints, one small type each; `/openapi.json` is generated from the types.

Requests are decoded into these types, so the definition that documents a body also refuses a wrong one.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from realtime.channels import Event
from realtime.errors import Code

NULL = Raw(b"null")
NOTHING = Raw()

MAX_EVENTS = 1_000

# The form of a channel, as far as a pattern describes it; `realtime.channels` decides, and names the error.
CHANNEL = {"pattern": "^[^:]+:[^\\x00-\\x1f]", "maxLength": 255}

TableName = Annotated[
    str, Meta(min_length=1, description="Name as it is stored, or SCHEMA.NAME if public has no such table")
]
Schema = Annotated[
    str, Meta(min_length=1, description="Name as it is stored; table_name is then a name without a schema")
]


class EnableRequest(Struct, frozen=True, kw_only=True):
    """Turn realtime on for a table; replaces the former events and columns."""

    table_name: TableName
    schema: Schema | None = None
    events: Annotated[list[Event], Meta(min_length=1)] = field(default_factory=lambda: list(Event))
    columns: (
        Annotated[list[str], Meta(min_length=1, description="Only these columns leave the database")] | None
    ) = None
    access: Annotated[Raw, Meta(description="Not supported yet", extra_json_schema={"type": "null"})] = field(
        default_factory=lambda: NULL
    )


class DisableRequest(Struct, frozen=True, kw_only=True):
    """Turn realtime off for a table."""

    table_name: TableName
    schema: Schema | None = None


class EnabledResponse(Struct, frozen=True, kw_only=True):
    schema: str
    table_name: str
    events: list[Event]
    columns: list[str] | None
    access: None = None
    enabled: Literal[True] = True


class DisabledResponse(Struct, frozen=True, kw_only=True):
    schema: str
    table_name: str
    enabled: Literal[False] = False


class SqlResponse(Struct, frozen=True, kw_only=True):
    sql: Annotated[str, Meta(description="Statements for psql")]


class StatusTable(Struct, frozen=True, kw_only=True):
    schema: str
    table_name: str
    events: list[Event]
    columns: list[str] | None


class StatusNode(Struct, frozen=True, kw_only=True):
    id: str
    connections: int
    started_at: str


class StatusNotifier(Struct, frozen=True, kw_only=True):
    status: Literal["live", "down"]
    pending: int | None
    lag_seconds: float | None


class StatusResponse(Struct, frozen=True, kw_only=True):
    """Only service_role receives `tables`, `nodes` and `notifier`."""

    project_id: str
    status: Literal["ok", "degraded"]
    connections: int
    tables: list[StatusTable] | UnsetType = UNSET
    nodes: list[StatusNode] | UnsetType = UNSET
    notifier: StatusNotifier | UnsetType = UNSET


class TableColumn(Struct, frozen=True, kw_only=True):
    name: str
    type: str


class TableEntry(Struct, frozen=True, kw_only=True):
    schema: str
    table_name: str
    enabled: bool
    events: list[Event]
    columns: list[TableColumn]
    primary_key: list[str]


class TablesResponse(Struct, frozen=True, kw_only=True):
    tables: list[TableEntry]


class BroadcastMessage(Struct, frozen=True, kw_only=True):
    """One message."""

    channel: Annotated[str, Meta(description="NAMESPACE:TOPIC", extra_json_schema=CHANNEL)]
    payload: Annotated[Raw, Meta(description="Any JSON value")]


Messages = Annotated[list[BroadcastMessage], Meta(min_length=1, max_length=100)]


class BroadcastMessages(Struct, frozen=True, kw_only=True):
    """Several messages."""

    messages: Messages


class BroadcastRequest(Struct, frozen=True, kw_only=True):
    """Either one message or `messages`, never a part of both: `BROADCAST_FORMS`."""

    channel: str | UnsetType = UNSET
    payload: Raw = field(default_factory=lambda: NOTHING)
    messages: Messages | UnsetType = UNSET


BROADCAST_FORMS = (BroadcastMessage, BroadcastMessages)


class BroadcastResponse(Struct, frozen=True, kw_only=True):
    accepted: int


class PresenceQuery(Struct, frozen=True, kw_only=True):
    channel: (
        Annotated[
            str,
            Meta(
                description="Channel without the prefix presence:; by default the whole project",
                extra_json_schema=CHANNEL,
            ),
        ]
        | UnsetType
    ) = UNSET


class PresenceEntry(Struct, frozen=True, kw_only=True):
    connection_id: str
    user_id: str | None
    state: dict[str, Any]
    joined_at: str
    updated_at: str


class PresenceResponse(Struct, frozen=True, kw_only=True):
    count: int
    presences: list[PresenceEntry]


class ConnectionsQuery(Struct, frozen=True, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=MAX_EVENTS, description="Largest number of events in the answer")] = (
        50
    )
    before: (
        Annotated[str, Meta(pattern="^[0-9]{1,15}-[0-9]{1,15}$", description="`next` of the previous answer")]
        | UnsetType
    ) = UNSET
    user_id: Annotated[str, Meta(description="Only events of this user")] | UnsetType = UNSET
    event: (
        Annotated[
            Literal["connect", "disconnect"],
            Meta(description="Only events of this kind", extra_json_schema={"type": "string"}),
        ]
        | UnsetType
    ) = UNSET


class ConnectionEvent(Struct, frozen=True, kw_only=True):
    """`code`, `reason` and `duration_seconds` are null for a connect."""

    id: str
    event: Literal["connect", "disconnect"]
    connection_id: str
    user_id: str | None
    ip: str
    user_agent: str | None
    node: str
    timestamp: str
    code: int | None = None
    reason: str | None = None
    duration_seconds: float | None = None


class ConnectionsResponse(Struct, frozen=True, kw_only=True):
    connections: list[ConnectionEvent]
    next: str | None


class HealthResponse(Struct, frozen=True, kw_only=True):
    status: Literal["ok"]


class NotReadyResponse(Struct, frozen=True, kw_only=True):
    status: Literal["unavailable"]
    reason: str


class ErrorBody(Struct, frozen=True, kw_only=True):
    code: Code
    message: str


class ErrorResponse(Struct, frozen=True, kw_only=True):
    error: ErrorBody
