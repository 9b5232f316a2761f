"""One connection of the public port, until it becomes a WebSocket: every wait has a time limit.

aiohttp has one time limit, for an idle keep-alive connection. Here, half a request, a head that is too long
and a response that the client does not read end a connection, too. The application decides what a request
means and whether it is allowed.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from aiohttp import HttpVersion10, HttpVersion11, web

from gateway.http.idle_connections import IdleConnections
from gateway.http.timings import HttpTimings
from realtime.errors import ClientError, Code
from realtime.logs.setup import get_logger
from realtime.process.http_protocol import HttpProtocol, closing_bytes

log = get_logger(__name__)

MAX_HEAD_BYTES = 65_536  # of a request line and all headers, which are held until the last header came
LINGER_SECONDS = 2.0  # in which an unwanted body is read, so that the client sees the response

_HEAD_END = b"\r\n\r\n"
_VERSIONS = (HttpVersion10, HttpVersion11)  # the parser accepts 0.9 and 2.0 as well
_VERSION = ClientError(Code.INVALID_REQUEST, "only HTTP/1.1 and HTTP/1.0 are supported")
_HEAD_TOO_LONG = ClientError(Code.INVALID_REQUEST, f"the headers are longer than {MAX_HEAD_BYTES} bytes")


class Edge(Protocol):
    """What all connections of a port share."""

    waiting_room: IdleConnections

    @property
    def timings(self) -> HttpTimings: ...

    def refused(self, address: str, error: ClientError) -> None:
        """Note that a request was refused before any handler saw it."""

    async def hold_up(self, address: str) -> None:
        """Delay an address that sends too many requests that no handler sees."""


class HttpConnection(HttpProtocol):
    """aiohttp's protocol, with a time limit for every wait that does not end by itself."""

    __slots__ = ("_bytes", "_edge", "_head_bytes", "_in_hand", "_sends_ahead", "_tail", "_timer")

    def __init__(self, server: web.Server, *, edge: Edge, **options: Any) -> None:
        super().__init__(server, lingering_time=LINGER_SECONDS, **options)
        self._edge = edge
        self._in_hand = False  # a request is being answered
        self._timer: asyncio.TimerHandle | None = None  # aborts the connection if a head does not end in time
        self._bytes = 0  # received since the last response
        self._head_bytes = 0  # size of the head of the first request; 0: the head did not end yet
        self._tail = b""  # last bytes of an unfinished head, in which its end may begin
        self._sends_ahead = False  # more than one request came at a time: half of the next one may be here

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._wait_for_a_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._in_hand:
            if self._timer is None:  # the connection was idle
                self._wait_for_a_head()
            self._look_for_the_end_of_the_head(data)
        self._bytes += len(data)
        if not self._in_hand and not self._head_bytes and self._bytes > MAX_HEAD_BYTES:
            self.refuse(_HEAD_TOO_LONG)
            return
        try:
            super().data_received(data)
        except Exception:
            log.exception("request_failed", method=None, endpoint=None)
            self.abort()

    def take_in_hand(self, request: web.BaseRequest) -> bool:
        """Begin a request whose headers are complete; return False if its HTTP version is refused."""
        self._begin()
        if request.version not in _VERSIONS:
            self.refuse(_VERSION)
            return False
        return True

    def refuse(self, error: ClientError) -> None:
        """Respond at once, in HTTP/1.1 whatever version the request has, and close the connection."""
        self._edge.refused(self._address, error)
        if self.transport is not None:
            self.transport.write(closing_bytes(error))
            self.transport.close()

    def abort(self) -> None:
        """Abort the connection now."""
        if self.transport is not None:
            self.transport.abort()

    def refused(self, request: web.BaseRequest, error: ClientError) -> None:
        self._edge.refused(self._address, error)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send a response and wait for the next request; abort if the client does not read in time."""
        if not self._in_hand:  # no handler saw the request
            self._begin()
            await self._edge.hold_up(self._address)
        try:
            async with asyncio.timeout(self._edge.timings.answer_seconds):
                sent = await super().finish_response(request, resp, start_time)
        except TimeoutError:
            self.abort()
            return resp, True
        self._wait_again(request)
        return sent

    @property
    def _address(self) -> str:
        """The address of the peer: headers that cannot be parsed name no other address."""
        peer = self.peername
        return peer[0] if isinstance(peer, tuple) else ""

    def _begin(self) -> None:
        self._in_hand = True
        self._stop_waiting()

    def _wait_again(self, request: web.BaseRequest) -> None:
        if self.transport is None:
            return  # the client is gone: nothing would ever remove this connection from the waiting room
        self._in_hand = False
        self._sends_ahead |= self._bytes != self._head_bytes + (request.content_length or 0)
        self._bytes, self._head_bytes, self._tail = 0, 0, b""
        if self._sends_ahead:
            self._wait_for_a_head()
        else:  # idle, until aiohttp's keep-alive time ends
            self._edge.waiting_room.enter(self)

    def _wait_for_a_head(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._edge.timings.handshake_seconds, self.abort)
        self._edge.waiting_room.enter(self)

    def _stop_waiting(self) -> None:
        self._edge.waiting_room.leave(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_for_the_end_of_the_head(self, data: bytes) -> None:
        if self._head_bytes:
            return
        end = (self._tail + data).find(_HEAD_END)
        if end >= 0:
            self._head_bytes = self._bytes - len(self._tail) + end + len(_HEAD_END)
        self._tail = (self._tail + data)[-len(_HEAD_END) + 1 :]
