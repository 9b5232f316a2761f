"""`/openapi.json`: the REST interface, generated from the table and the types that serve it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec
from aiohttp import hdrs, web

from gateway.http.bodies import (
    BROADCAST_FORMS,
    BroadcastRequest,
    ErrorResponse,
    HealthResponse,
    NotReadyResponse,
)
from gateway.http.context import Endpoint
from gateway.http.fleet_bodies import DISCONNECT_FORMS, DisconnectRequest
from gateway.http.middlewares import Handler, json_response
from gateway.http.routes import ENDPOINTS, PREFIX
from realtime import __version__
from realtime.settings.config import PROJECT_ID

DESCRIPTION_SECONDS = 300  # for which a cache may keep `/openapi.json`

FORMS: dict[type, Sequence[type[msgspec.Struct]]] = {
    BroadcastRequest: BROADCAST_FORMS,
    DisconnectRequest: DISCONNECT_FORMS,
}

_REF = "#/components/schemas/{name}"
_STRING = {"type": "string"}

# Statuses of refusals: what each means, and its headers.
REFUSALS: dict[int, tuple[str, dict[str, Any]]] = {
    400: ("The request is invalid; the message names the field", {}),
    401: ("The token is missing, invalid or expired", {"WWW-Authenticate": _STRING}),
    403: ("The token, or the role of the project's database, lacks the right", {}),
    404: ("The project or the table does not exist", {}),
    405: ("The path does not have this method; Allow lists its methods", {"Allow": _STRING}),
    413: ("The body, or a payload in it, is too large", {}),
    415: ("The content type of the body is not application/json", {}),
    429: ("Too many requests", {"Retry-After": {"type": "integer", "minimum": 1}}),
    500: ("The service failed; the cause is in its log", {}),
    503: ("Redis, the database or the key server is not available now", {}),
}
_ALWAYS = (400, 405, 500)  # also for paths that need no token


def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 description of this version."""
    paths: dict[str, Any] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(PREFIX + endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Realtime", "version": __version__},
        "paths": paths | _beside_the_projects(),
        "components": {
            "schemas": _schemas(),
            "responses": {str(status): _refusal(status) for status in REFUSALS},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
        "security": [{"token": []}],
    }


def described() -> Handler:
    """Return the handler that answers with the description, which is made once."""
    body = msgspec.json.encode(document())

    async def describe(_: web.Request) -> web.Response:
        response = json_response(body)
        response.headers[hdrs.CACHE_CONTROL] = f"max-age={DESCRIPTION_SECONDS}"  # holds no client's data
        return response

    return describe


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    summary = (endpoint.handler.__doc__ or "").strip()
    operation: dict[str, Any] = {
        "operationId": endpoint.path.strip("/"),
        "summary": summary + (" Needs the role service_role." if endpoint.service_only else ""),
        "parameters": [_project_id(), *_query(endpoint.query)],
        "responses": {
            str(endpoint.status): _content(endpoint.response, "Done"),
            **_refusals(*_statuses(endpoint)),
        },
    }
    if endpoint.request is not None:
        operation["requestBody"] = {"required": True, **_content(endpoint.request)}
    return operation


def _statuses(endpoint: Endpoint) -> list[int]:
    """Return the statuses with which an endpoint may refuse."""
    others = () if endpoint.service_only else (403,)
    with_body = () if endpoint.request is not None else (413, 415)
    return [status for status in REFUSALS if status not in (*others, *with_body)]


def _project_id() -> dict[str, Any]:
    schema = {"type": "string", "pattern": f"^{PROJECT_ID.pattern}$"}
    return {"name": "project_id", "in": "path", "required": True, "schema": schema}


def _query(kind: type | None) -> list[dict[str, Any]]:
    """Return the query parameters, as their type defines them; no parameter is required."""
    if kind is None:
        return []
    _, components = msgspec.json.schema_components([kind], ref_template=_REF)
    return [
        {
            "name": name,
            "in": "query",
            "description": schema.pop("description"),
            "schema": schema,
        }
        for name, schema in components[kind.__name__]["properties"].items()
    ]


def _beside_the_projects() -> dict[str, Any]:
    ready = {
        "200": _content(HealthResponse, "Messages are delivered"),
        "503": _content(NotReadyResponse, "Messages are not delivered now; `reason` says why"),
    }
    described = {
        "200": {
            "description": "The OpenAPI document",
            "content": {"application/json": {"schema": {"type": "object"}}},
        }
    }
    return {
        "/healthz": _public(
            "healthz", "Tell that the process runs.", {"200": _content(HealthResponse, "The process runs")}
        ),
        "/readyz": _public("readyz", "Tell whether messages are delivered.", ready),
        "/openapi.json": _public("describe", "Describe this interface.", described | _refusals(429)),
    }


def _public(name: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    """Return a path that needs no token."""
    return {
        "get": {
            "operationId": name,
            "summary": summary,
            "security": [],
            "responses": responses | _refusals(*_ALWAYS),
        }
    }


def _refusals(*statuses: int) -> dict[str, Any]:
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in statuses}


def _refusal(status: int) -> dict[str, Any]:
    meaning, headers = REFUSALS[status]
    named = {name: {"required": True, "schema": schema} for name, schema in headers.items()}
    return _content(ErrorResponse, meaning) | ({"headers": named} if named else {})


def _schemas() -> dict[str, Any]:
    kinds: list[Any] = [kind for one in ENDPOINTS for kind in (one.request, one.response) if kind is not None]
    more = (*chain.from_iterable(FORMS.values()), ErrorResponse, HealthResponse, NotReadyResponse)
    _, components = msgspec.json.schema_components([*kinds, *more], ref_template=_REF)
    for kind, forms in FORMS.items():
        components[kind.__name__] = _one_of(forms)
    return components


def _one_of(forms: Sequence[type[msgspec.Struct]]) -> dict[str, Any]:
    """Return the schema of a body that has one of several forms; each refuses the fields of the others."""
    every = {name for form in forms for name in form.__struct_fields__}
    return {
        "oneOf": [
            {
                "allOf": [_schema(form)],
                "properties": dict.fromkeys(sorted(every - set(form.__struct_fields__)), False),
            }
            for form in forms
        ]
    }


def _schema(kind: type) -> dict[str, str]:
    return {"$ref": _REF.format(name=kind.__name__)}


def _content(kind: type, description: str | None = None) -> dict[str, Any]:
    content = {"content": {"application/json": {"schema": _schema(kind)}}}
    return content if description is None else {"description": description, **content}
