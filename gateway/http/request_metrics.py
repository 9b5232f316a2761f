"""Counts REST responses and measures how long they take, by endpoint and never by path.

The middleware wraps the one that turns errors into responses, so it sees what the client gets.
"""

from __future__ import annotations

import time

from aiohttp import web
from aiohttp.typedefs import Middleware

from gateway import metrics
from gateway.http.middlewares import Handler
from gateway.http.routes import ENDPOINTS, PREFIX
from realtime.errors import HTTP_STATUS

_ENDPOINTS = {PREFIX + endpoint.path: endpoint.path for endpoint in ENDPOINTS}


def counted() -> Middleware:
    """Create the series of every endpoint and its statuses, and return the middleware."""
    for endpoint in ENDPOINTS:
        metrics.request_seconds.labels(endpoint.path)
        for status in {endpoint.status, *HTTP_STATUS.values()}:
            metrics.requests.labels(endpoint.path, status)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        endpoint = _ENDPOINTS.get(resource.canonical) if resource is not None else None
        if endpoint is None:
            return await handler(request)
        started = time.monotonic()
        response = await handler(request)
        metrics.request_seconds.labels(endpoint).observe(time.monotonic() - started)
        metrics.requests.labels(endpoint, response.status).inc()
        return response

    return middleware
