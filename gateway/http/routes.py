"""The REST endpoints of a project.

Each endpoint is a function from an admitted request to an answer, and a row of `ENDPOINTS`, from which routes
and `/openapi.json` are made. `admitted` checks project, token and role before a handler runs.
"""

from __future__ import annotations

from aiohttp import web

from gateway.http import fleet, people, settings, stats, status, tables
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
    SqlResponse,
    StatusResponse,
    TablesResponse,
)
from gateway.http.context import Call, Endpoint, Services
from gateway.http.fleet_bodies import (
    ChannelsQuery,
    ChannelsResponse,
    ClientsQuery,
    ClientsResponse,
    DisconnectRequest,
    DisconnectResponse,
    StatsResponse,
)
from gateway.http.gate import Gate
from gateway.http.middlewares import Handler, json_response, read_body, read_query
from gateway.http.request import Tenants, bearer_token, find_tenant, identify, require_service
from gateway.http.settings import SettingsResponse

PREFIX = "/projects/{project_id}/realtime"


def routes(tenants: Tenants, services: Services, gate: Gate) -> list[web.RouteDef]:
    return [
        web.route(endpoint.method, PREFIX + endpoint.path, admitted(endpoint, tenants, services, gate))
        for endpoint in ENDPOINTS
    ]


def admitted(endpoint: Endpoint, tenants: Tenants, services: Services, gate: Gate) -> Handler:
    """Check project, token and role, then decode query and body, then call the handler."""

    async def handle(request: web.Request) -> web.Response:
        tenant = find_tenant(tenants, request)
        token = bearer_token(request)
        identity = await identify(tenant, token)
        await gate.token(tenant, token or "")
        if endpoint.service_only:
            require_service(identity)
        query = None if endpoint.query is None else read_query(request, endpoint.query)
        seconds = gate.timings.body_seconds
        body = None if endpoint.request is None else await read_body(request, endpoint.request, seconds)
        answer = await endpoint.handler(Call(tenant, identity, query, body, services))
        return json_response(answer, endpoint.status)

    return handle


ENDPOINTS = (
    Endpoint("POST", "/enable", True, tables.enable, EnabledResponse, EnableRequest),
    Endpoint("POST", "/disable", True, tables.disable, DisabledResponse, DisableRequest),
    Endpoint("GET", "/status", False, status.status, StatusResponse),
    Endpoint("GET", "/tables", True, tables.list_tables, TablesResponse),
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
    Endpoint("GET", "/stats", True, stats.stats, StatsResponse),
    Endpoint("GET", "/clients", True, fleet.clients, ClientsResponse, query=ClientsQuery),
    Endpoint("GET", "/channels", True, fleet.channels, ChannelsResponse, query=ChannelsQuery),
    Endpoint(
        "POST", "/disconnect", True, fleet.disconnect, DisconnectResponse, DisconnectRequest, status=202
    ),
    Endpoint("GET", "/settings", True, settings.show, SettingsResponse),
    Endpoint("POST", "/enable/preview", True, tables.preview_enable, SqlResponse, EnableRequest),
    Endpoint("POST", "/disable/preview", True, tables.preview_disable, SqlResponse, DisableRequest),
)
