"""HTTP on one connection of every port of this service: errors are JSON, no header names a version.

aiohttp's protocol, below the handlers of an application, answers by itself a request that it cannot parse.
Its error texts quote the request, and a request may carry a token: no such text is sent or logged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from functools import partial
from http import HTTPStatus

import msgspec
from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from realtime.errors import HTTP_STATUS, ClientError, Code
from realtime.logs.setup import get_logger

log = get_logger(__name__)

MAX_LINE_BYTES = 16_384  # of a request line, and of a header; the longest token fits into both

_TOO_LONG = ClientError(
    Code.INVALID_REQUEST, f"the request line or a header is longer than {MAX_LINE_BYTES} bytes"
)
_MALFORMED = ClientError(Code.INVALID_REQUEST, "this is not a well-formed HTTP/1.1 request")
_EXPECTATION = ClientError(Code.INVALID_REQUEST, "the header Expect may only be 100-continue")
_INTERNAL = ClientError(Code.INTERNAL, "something went wrong on this node; it is logged")


def set_common_headers(headers: MutableMapping[str, str]) -> None:
    """Set the headers of every response: no version, no copy in a cache, no guessing of content types."""
    headers[hdrs.SERVER] = "realtime"
    headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    headers["X-Content-Type-Options"] = "nosniff"


async def on_prepare(_: web.BaseRequest, response: web.StreamResponse) -> None:
    """Set the common headers; a handler for `on_response_prepare` of an application."""
    set_common_headers(response.headers)


def error_json(error: ClientError) -> bytes:
    """Return the body of an error response."""
    return msgspec.json.encode({"error": {"code": error.code, "message": error.message}})


def closing_response(error: ClientError) -> web.Response:
    """Return an error response after which the connection is closed."""
    response = web.Response(
        body=error_json(error), status=HTTP_STATUS[error.code], content_type="application/json"
    )
    response.force_close()
    response.headers[hdrs.CONNECTION] = "close"  # aiohttp omits it for a request that it could not parse
    set_common_headers(response.headers)  # no application saw the request, so none sets them
    return response


def closing_bytes(error: ClientError) -> bytes:
    """Return a closing response as bytes, for a connection on which aiohttp still waits for a request."""
    status, body = HTTPStatus(HTTP_STATUS[error.code]), error_json(error)
    headers: dict[str, str] = {
        hdrs.CONTENT_TYPE: "application/json",
        hdrs.CONTENT_LENGTH: str(len(body)),
        hdrs.CONNECTION: "close",
    }
    set_common_headers(headers)
    lines = [f"{name}: {text}" for name, text in headers.items()]
    return "\r\n".join([f"HTTP/1.1 {status.value} {status.phrase}", *lines, "", ""]).encode() + body


class HttpProtocol(web.RequestHandler):
    """One connection of a port."""

    __slots__ = ()

    def refused(self, request: web.BaseRequest, error: ClientError) -> None:
        """Called when a request was refused before any handler saw it; subclasses may count it."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a request that cannot be parsed, or that failed outside of all handlers."""
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the answer was sent already")
        if isinstance(exc, HttpProcessingError):
            error = _TOO_LONG if isinstance(exc, LineTooLong) else _MALFORMED
            self.refused(request, error)
            return closing_response(error)
        if isinstance(exc, UnicodeEncodeError) and hdrs.EXPECT in request.headers:
            # aiohttp quotes the header in an error text that it then cannot encode.
            self.refused(request, _EXPECTATION)
            return closing_response(_EXPECTATION)
        log.error("request_failed", method=request.method, endpoint=None, exc_info=exc)
        return closing_response(_INTERNAL)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send a response; handlers made all of them but one: aiohttp's own to a wrong `Expect` header."""
        if isinstance(resp, web.HTTPException):
            self.refused(request, _EXPECTATION)
            resp = closing_response(_EXPECTATION)
        return await super().finish_response(request, resp, start_time)


def protocol_factory(
    kind: Callable[..., HttpProtocol], runner: web.AppRunner, **more: object
) -> Callable[[], HttpProtocol]:
    """Return a factory of protocols, one per connection, for the application of a runner that is set up."""
    assert runner.server is not None, "set up"
    return partial(
        kind,
        runner.server,
        loop=asyncio.get_running_loop(),
        access_log=None,
        max_line_size=MAX_LINE_BYTES,
        max_field_size=MAX_LINE_BYTES,
        **more,
    )
