"""The public port: accepts connections, and ends those that never send a whole request.

aiohttp waits for a request for ever: a client that sends half a handshake, or nothing, would stay connected.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from aiohttp import web

from gateway.http.gate import Gate
from gateway.http.idle_connections import IdleConnections, most_waiting
from gateway.http.middlewares import Handler, keep_requests_out_of_the_log
from gateway.http.protocol import HttpConnection
from gateway.http.timings import HttpTimings
from realtime.errors import ClientError
from realtime.process.http_protocol import on_prepare, protocol_factory

KEEPALIVE_SECONDS = 75.0  # between two requests of one connection
STOP_SECONDS = 5.0  # for open requests when the node stops
BACKLOG = 1024  # connections that the system holds until they are accepted


class PublicEdge:
    """What the connections of the public port share."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        max_idle = gate.timings.max_idle
        self.waiting_room = IdleConnections(most_waiting() if max_idle is None else max_idle)

    @property
    def timings(self) -> HttpTimings:
        return self._gate.timings

    def refused(self, address: str, error: ClientError) -> None:
        self._gate.note_unparsable(address, error)

    async def hold_up(self, address: str) -> None:
        await self._gate.hold_up_unparsable(address)


@web.middleware
async def _take_in_hand(request: web.Request, handler: Handler) -> web.StreamResponse:
    assert isinstance(request.protocol, HttpConnection)
    if not request.protocol.take_in_hand(request):
        return web.Response()  # never sent: the connection is closed
    return await handler(request)


@asynccontextmanager
async def listening(
    app: web.Application, gate: Gate, host: str, port: int, *, reuse_port: bool
) -> AsyncIterator[int]:
    """Serve the application while the block runs; yield the port, which the system chooses if `port` is 0."""
    app.middlewares.insert(0, _take_in_hand)
    app.on_response_prepare.append(on_prepare)
    keep_requests_out_of_the_log()
    runner = web.AppRunner(app, shutdown_timeout=STOP_SECONDS)
    await runner.setup()
    connection = partial(HttpConnection, edge=PublicEdge(gate))
    accept = protocol_factory(connection, runner, keepalive_timeout=KEEPALIVE_SECONDS)
    server = await asyncio.get_running_loop().create_server(
        accept, host, port, reuse_port=reuse_port or None, backlog=BACKLOG
    )
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await runner.cleanup()
