"""What all HTTP responses have in common: JSON, errors in one form, CORS for the project's allowed origins.

The middlewares wrap all handlers of the public port. No middleware knows what a request is about.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import msgspec
from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Middleware

from gateway.http.bodies import ErrorBody, ErrorResponse
from gateway.http.request import Proxies, Tenants, client_address, is_allowed_origin
from gateway.projects.project import Tenant
from realtime.errors import HTTP_STATUS, ClientError, Code, RateLimited
from realtime.logs.setup import get_logger
from realtime.waiting.survival import Part, internal

log = get_logger(__name__)

_part = Part("requests")

MAX_BODY_BYTES = 1_048_576
RETRY_SECONDS = 1  # for Retry-After, if no rate gives the seconds

REQUEST_ID = "X-Request-Id"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Note = Callable[[web.Request, Code], None]

_CODE_OF_STATUS = {status: code for code, status in HTTP_STATUS.items()} | {400: Code.INVALID_REQUEST}


def json_response(body: object, status: int = 200) -> web.Response:
    """Return a response with a value as JSON, or with bytes that are JSON already."""
    text = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return web.Response(body=text, status=status, content_type="application/json")


def error_response(error: ClientError) -> web.Response:
    response = json_response(
        ErrorResponse(error=ErrorBody(code=error.code, message=error.message)), HTTP_STATUS[error.code]
    )
    if error.code is Code.UNAUTHORIZED or error.code is Code.TOKEN_EXPIRED:
        response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    if error.code is Code.RATE_LIMITED or error.code is Code.TOO_MANY_CONNECTIONS:
        seconds = error.retry_seconds if isinstance(error, RateLimited) else RETRY_SECONDS
        response.headers[hdrs.RETRY_AFTER] = str(max(1, math.ceil(seconds)))
    return response


async def read_body(request: web.Request, kind: Any, seconds: float) -> Any:
    """Decode a JSON body, which arrives in so many seconds, into a type of `bodies`.

    Raises a ClientError that names the wrong field.
    """
    if request.content_type != "application/json":
        raise ClientError(Code.UNSUPPORTED_MEDIA_TYPE, "send the body as application/json")
    try:
        async with asyncio.timeout(seconds):
            body = await request.read()
        # Decode text, not bytes: a Raw field of bytes may be invalid UTF-8, which no client could read.
        return msgspec.json.decode(body.decode(), type=kind)
    except msgspec.ValidationError as error:
        raise ClientError(Code.INVALID_REQUEST, _name_the_field(str(error))) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ClientError(Code.INVALID_REQUEST, f"the body is not JSON: {error}") from error
    except (web.RequestPayloadError, ConnectionError, TimeoutError) as error:
        raise ClientError(
            Code.INVALID_REQUEST, "the body cannot be read, or did not arrive in time"
        ) from error


def read_query(request: web.Request, kind: Any) -> Any:
    """Convert the query parameters into a type of `bodies`; unknown parameters are ignored."""
    for name in kind.__struct_fields__:
        if len(request.query.getall(name, ())) > 1:
            raise ClientError(Code.INVALID_REQUEST, f"{name}: given more than once")
    try:
        return msgspec.convert(dict(request.query), kind, strict=False)
    except msgspec.ValidationError as error:
        raise ClientError(Code.INVALID_REQUEST, _name_the_field(str(error))) from error


def _name_the_field(reason: str) -> str:
    """Turn `Expected `str`, got `int` - at `$.table_name`` into `table_name: expected `str`, got `int``."""
    problem, _, path = reason.partition(" - at `$")
    field = path.removesuffix("`").removeprefix(".")
    missing = problem.removeprefix("Object missing required field `")
    if missing != problem:
        return f"{field}{'.' if field else ''}{missing.removesuffix('`')}: missing"
    return f"{field or 'body'}: {problem[0].lower()}{problem[1:]}"


def errors_as_json(proxies: Proxies, note: Note) -> Middleware:
    """Answer every refusal with an ErrorResponse and note it; an unforeseen exception becomes `internal`."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except (ClientError, web.HTTPException) as refusal:
            error = refusal if isinstance(refusal, ClientError) else _in_our_words(refusal)
            log.debug("request_refused", code=error.code, address=client_address(request, proxies))
            note(request, error.code)
            response = error_response(error)
            if isinstance(refusal, web.HTTPException) and hdrs.ALLOW in refusal.headers:
                response.headers[hdrs.ALLOW] = refusal.headers[hdrs.ALLOW]
            return response
        except Exception as error:
            if _part.count(error):
                log.exception("request_failed", method=request.method, endpoint=_endpoint(request))
            return error_response(internal())

    return middleware


def _in_our_words(refusal: web.HTTPException) -> ClientError:
    """Translate a refusal of aiohttp: an unknown path, a wrong method, a body that is too long."""
    return ClientError(_CODE_OF_STATUS.get(refusal.status, Code.INVALID_REQUEST), refusal.reason)


def _endpoint(request: web.Request) -> str | None:
    """Return the path of the route, without the values that the client put into it."""
    resource = request.match_info.route.resource
    return resource.canonical if resource else None


_IN_PROJECT = re.compile(r"/projects/([^/]+)/realtime/")


def tenant_of(path: str, tenants: Tenants) -> Tenant | None:
    """Return the project of a path, even if no route serves the request: no route serves a preflight."""
    match = _IN_PROJECT.match(path)
    return tenants.get(match[1]) if match else None


def limited(count: Callable[[web.Request], Awaitable[None]], free: Collection[str]) -> Middleware:
    """Count every request, except requests to the route paths in `free`."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if _endpoint(request) not in free:
            await count(request)
        return await handler(request)

    return middleware


def cors(tenants: Tenants) -> Middleware:
    """Let pages of a project's allowed origins read REST responses."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        tenant = tenant_of(request.path, tenants)
        if tenant is None or response.prepared:
            return response
        response.headers[hdrs.VARY] = "Origin"
        origin = request.headers.get(hdrs.ORIGIN)
        if origin and is_allowed_origin(origin, tenant.project.allowed_origins):
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = f"{REQUEST_ID}, {hdrs.RETRY_AFTER}"
        return response

    return middleware


def preflights(tenants: Tenants) -> Middleware:
    """Answer the CORS preflight of a page whose origin is allowed."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        tenant, origin = tenant_of(request.path, tenants), request.headers.get(hdrs.ORIGIN)
        asks = request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        if not (asks and tenant and origin and is_allowed_origin(origin, tenant.project.allowed_origins)):
            return await handler(request)
        response = web.Response(status=204)
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = "GET, POST"
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = f"Authorization, Content-Type, {REQUEST_ID}"
        response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = "3600"
        return response

    return middleware


class _ClientFaults(logging.Filter):
    """Drops aiohttp's log records of a client's faults: they are answered, and the text quotes a token."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return record.name != "aiohttp.websocket" and not isinstance(
            error, HttpProcessingError | web.RequestPayloadError
        )


_CLIENT_FAULTS = _ClientFaults()


def keep_requests_out_of_the_log() -> None:
    """Make aiohttp log nothing that a client sent."""
    for name in ("aiohttp.server", "aiohttp.websocket"):
        logging.getLogger(name).addFilter(_CLIENT_FAULTS)
