"""How a client that was not let in is turned away: by an error and a close code, which a browser can read."""

from __future__ import annotations

from contextlib import suppress

from aiohttp import web

from gateway import metrics
from gateway.session.session import refusal
from gateway.wire.native import encode
from realtime.errors import CLOSE_CODE, ClientError


async def refuse(web_socket: web.WebSocketResponse, error: ClientError) -> None:
    """Say why, and close."""
    message = refusal(error)
    metrics.errors.labels(message.code).inc()
    metrics.closes.labels(CLOSE_CODE[error.code]).inc()
    metrics.messages_sent.inc()
    with suppress(ConnectionError):  # gone before it heard
        await web_socket.send_str(encode(message).decode())
        await web_socket.close(code=CLOSE_CODE[error.code])
