"""The public port: accepts connections, and ends those that never say what they want.

aiohttp waits for a request for ever; whoever sends half a handshake, or nothing, would hold a place.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from gateway.http_edge import MAX_LINE_BYTES, keep_requests_out_of_the_log

HANDSHAKE_SECONDS = 10.0  # for the first request of a connection to arrive
KEEPALIVE_SECONDS = 75.0  # between two requests of one connection
STOP_SECONDS = 5.0  # for open requests when the node stops
BACKLOG = 1024  # connections that the system holds until they are accepted

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def listening(app: web.Application, host: str, port: int, *, reuse_port: bool) -> AsyncIterator[int]:
    """Serve the application while the block runs; yields the port, which matters when 0 was asked for."""
    silent: set[asyncio.BaseProtocol] = set()  # connections that have not sent a whole request yet

    @web.middleware
    async def hear(request: web.Request, handler: Handler) -> web.StreamResponse:
        silent.discard(request.protocol)
        return await handler(request)

    app.middlewares.insert(0, hear)
    keep_requests_out_of_the_log()
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=STOP_SECONDS,
        keepalive_timeout=KEEPALIVE_SECONDS,
        max_line_size=MAX_LINE_BYTES,
        max_field_size=MAX_LINE_BYTES,
    )
    await runner.setup()
    loop = asyncio.get_running_loop()
    make_protocol = runner.server
    assert make_protocol is not None, "set up above"

    def accept() -> asyncio.BaseProtocol:
        protocol = make_protocol()
        silent.add(protocol)
        loop.call_later(HANDSHAKE_SECONDS, end_if_silent, protocol)
        return protocol

    def end_if_silent(protocol: web.RequestHandler) -> None:
        if protocol in silent:
            silent.discard(protocol)
            if protocol.transport is not None:
                protocol.transport.abort()

    server = await loop.create_server(accept, host, port, reuse_port=reuse_port or None, backlog=BACKLOG)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await runner.cleanup()
