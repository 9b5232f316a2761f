"""Gives every request an id, which its log lines and its response carry.

The middleware wraps all other handlers of the public port. A WebSocket begins as a request, and has a
`connection_id` from then on. Nothing here looks at the content of a request.
"""

from __future__ import annotations

import re
import secrets

from aiohttp import web
from aiohttp.typedefs import Middleware
from structlog.contextvars import bound_contextvars

from gateway.http.middlewares import REQUEST_ID, Handler, tenant_of
from gateway.http.request import Tenants

_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_ids(tenants: Tenants) -> Middleware:
    """Bind `request_id`, and `project` where there is one, while a request is handled."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        request_id, tenant = _id_of(request), tenant_of(request.path, tenants)
        with bound_contextvars(request_id=request_id, **({"project": tenant.project_id} if tenant else {})):
            response = await handler(request)
        if not response.prepared:
            response.headers[REQUEST_ID] = request_id
        return response

    return middleware


def _id_of(request: web.Request) -> str:
    """Return the id that the client, or a proxy before this node, gave to the request; else a new id."""
    given = request.headers.get(REQUEST_ID, "")
    return given if _SANE.fullmatch(given) else secrets.token_hex(8)
