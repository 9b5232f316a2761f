"""The REST endpoints of a project.

Each is a function from an admitted request to an answer, and a row of `ENDPOINTS`, from which routes and
`/openapi.json` are made. Project, token and role are checked before a handler runs, in `admitted`.
"""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
from aiohttp import web

from gateway.http import people
from gateway.http.bodies import (
    BroadcastRequest,
    BroadcastResponse,
    ConnectionsQuery,
    ConnectionsResponse,
    DisabledResponse,
    DisableRequest,
    EnabledResponse,
    EnableRequest,
    PresenceQuery,
    PresenceResponse,
    StatusNode,
    StatusNotifier,
    StatusResponse,
    StatusTable,
    TableColumn,
    TableEntry,
    TablesResponse,
)
from gateway.http.context import Call, Endpoint, Services
from gateway.http.gate import Gate
from gateway.http.middlewares import json_response, read_body, read_query
from gateway.http.request import Tenants, bearer_token, find_tenant, identify, require_service
from gateway.presence.node import NodeReport
from realtime import names
from realtime.errors import ClientError, Code, Unavailable
from realtime.postgres.catalogue import EnabledTable, TableInfo
from realtime.redis.broker import FEED_FAILED

# What a database may answer instead: it is away, or its role lacks rights.
NOT_TOLD = (ClientError, asyncpg.PostgresError)

PREFIX = "/projects/{project_id}/realtime"


def routes(tenants: Tenants, services: Services, gate: Gate) -> list[web.RouteDef]:
    return [
        web.route(endpoint.method, PREFIX + endpoint.path, admitted(endpoint, tenants, services, gate))
        for endpoint in ENDPOINTS
    ]


def admitted(endpoint: Endpoint, tenants: Tenants, services: Services, gate: Gate) -> Any:
    """Check who asks, then what is asked, then answer."""

    async def handle(request: web.Request) -> web.Response:
        tenant = find_tenant(tenants, request)
        token = bearer_token(request)
        identity = await identify(tenant, token)
        await gate.token(tenant, token or "")
        if endpoint.service_only:
            require_service(identity)
        query = None if endpoint.query is None else read_query(request, endpoint.query)
        body = None if endpoint.request is None else await read_body(request, endpoint.request)
        answer = await endpoint.handler(Call(tenant, identity, query, body, services))
        return json_response(answer, endpoint.status)

    return handle


async def enable(call: Call) -> EnabledResponse:
    """Turn realtime on for a table."""
    body: EnableRequest = call.body
    if bytes(body.access) != b"null":
        raise ClientError(Code.INVALID_REQUEST, "access: not supported yet")
    catalogue = call.tenant.catalogue  # one database, whatever a reload does meanwhile
    table = await catalogue.resolve(body.table_name, body.schema)
    enabled = await catalogue.enable(table, body.events, body.columns, call.tenant.limits.max_change_bytes)
    return EnabledResponse(
        schema=table.schema,
        table_name=table.name,
        events=list(enabled.events),
        columns=_columns(enabled),
    )


async def disable(call: Call) -> DisabledResponse:
    """Turn realtime off for a table."""
    body: DisableRequest = call.body
    catalogue = call.tenant.catalogue
    table = await catalogue.resolve(body.table_name, body.schema)
    await catalogue.disable(table)
    return DisabledResponse(schema=table.schema, table_name=table.name)


async def list_tables(call: Call) -> TablesResponse:
    """List the tables that the project may use."""
    return TablesResponse(tables=[_table_entry(info) for info in await call.tenant.catalogue.tables()])


async def status(call: Call) -> StatusResponse:
    """Tell how the project does on all nodes; to ordinary users a little, and not asked anew for each."""
    if call.identity.is_service:
        return await _status(call)
    return await call.tenant.recent_status.get(lambda: _status_for_all(call))


async def _status_for_all(call: Call) -> StatusResponse:
    now = await _status(call)
    return StatusResponse(project_id=now.project_id, status=now.status, connections=now.connections)


async def _status(call: Call) -> StatusResponse:
    (reports, redis_ok), notifier, (tables, guarded) = await asyncio.gather(
        _all_nodes(call), _notifier(call), _enabled_tables(call)
    )
    ok = redis_ok and guarded and notifier.status == "live" and notifier.pending is not None
    by_node = [(report, report.connections.get(call.tenant.project_id, 0)) for report in reports]
    return StatusResponse(
        project_id=call.tenant.project_id,
        status="ok" if ok else "degraded",
        connections=sum(connections for _, connections in by_node),
        tables=tables,
        nodes=[StatusNode(id=r.id, connections=n, started_at=r.started_at) for r, n in by_node],
        notifier=notifier,
    )


async def _all_nodes(call: Call) -> tuple[list[NodeReport], bool]:
    """The nodes, and whether Redis told of them; without it a node knows of itself."""
    try:
        return await call.services.node.all_reports(), True
    except Unavailable:
        return [call.services.node.report()], False


async def _notifier(call: Call) -> StatusNotifier:
    try:
        report = await call.services.broker.read_report(names.notifier(call.tenant.project_id))
        alive = isinstance(report, dict) and report.get("state") != FEED_FAILED
    except Unavailable:
        alive = False
    try:
        backlog = await call.tenant.backlog()
    except NOT_TOLD:
        return StatusNotifier(status="live" if alive else "down", pending=None, lag_seconds=None)
    return StatusNotifier(
        status="live" if alive else "down", pending=backlog.pending, lag_seconds=backlog.lag_seconds
    )


async def _enabled_tables(call: Call) -> tuple[list[StatusTable], bool]:
    """The enabled tables, and whether every partition of theirs is watched."""
    try:
        enabled = await call.tenant.catalogue.enabled()
        guarded = not await call.tenant.catalogue.unguarded_partitions()
    except NOT_TOLD:
        return [], False
    return [
        StatusTable(
            schema=one.table.schema,
            table_name=one.table.name,
            events=list(one.events),
            columns=_columns(one),
        )
        for one in enabled
    ], guarded


def _table_entry(info: TableInfo) -> TableEntry:
    return TableEntry(
        schema=info.table.schema,
        table_name=info.table.name,
        enabled=info.enabled is not None,
        events=list(info.enabled.events) if info.enabled else [],
        columns=[TableColumn(name=column.name, type=column.type) for column in info.columns],
        primary_key=list(info.primary_key),
    )


def _columns(enabled: EnabledTable) -> list[str] | None:
    return None if enabled.columns is None else list(enabled.columns)


ENDPOINTS = (
    Endpoint("POST", "/enable", True, enable, EnabledResponse, EnableRequest),
    Endpoint("POST", "/disable", True, disable, DisabledResponse, DisableRequest),
    Endpoint("GET", "/status", False, status, StatusResponse),
    Endpoint("GET", "/tables", True, list_tables, TablesResponse),
    Endpoint(
        "GET",
        "/presence",
        False,
        people.presence,
        PresenceResponse,
        query=PresenceQuery,
    ),
    Endpoint(
        "GET",
        "/connections",
        True,
        people.connections,
        ConnectionsResponse,
        query=ConnectionsQuery,
    ),
    Endpoint("POST", "/broadcast", True, people.broadcast, BroadcastResponse, BroadcastRequest, status=202),
)
