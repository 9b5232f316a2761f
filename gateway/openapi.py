"""`/openapi.json`: the REST interface, written from the same table and types that serve it."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.rest import ENDPOINTS, PREFIX
from gateway.rest_call import Endpoint
from gateway.rest_types import ErrorResponse
from realtime import __version__
from realtime.config import PROJECT_ID

_REF = "#/components/schemas/{name}"


def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 description of this version."""
    kinds: list[Any] = [kind for one in ENDPOINTS for kind in (one.request, one.response) if kind is not None]
    _, components = msgspec.json.schema_components([*kinds, ErrorResponse], ref_template=_REF)
    paths: dict[str, Any] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(PREFIX + endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Realtime", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
        "security": [{"token": []}],
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    summary = (endpoint.handler.__doc__ or "").strip()
    operation: dict[str, Any] = {
        "operationId": endpoint.path.strip("/"),
        "summary": summary + (" Needs the role service_role." if endpoint.service_only else ""),
        "parameters": [
            {
                "name": "project_id",
                "in": "path",
                "required": True,
                "schema": {"type": "string", "pattern": f"^{PROJECT_ID.pattern}$"},
            },
            *(
                {"name": name, "in": "query", "description": meaning, "schema": {"type": "string"}}
                for name, meaning in (endpoint.query or {}).items()
            ),
        ],
        "responses": {
            str(endpoint.status): _content(endpoint.response, "Done"),
            "default": _content(ErrorResponse, "Refused"),
        },
    }
    if endpoint.request is not None:
        operation["requestBody"] = {"required": True, **_content(endpoint.request)}
    return operation


def _content(kind: type, description: str | None = None) -> dict[str, Any]:
    content = {"content": {"application/json": {"schema": {"$ref": _REF.format(name=kind.__name__)}}}}
    return content if description is None else {"description": description, **content}
