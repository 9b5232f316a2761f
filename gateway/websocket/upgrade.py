"""The answer to an upgrade, after which a connection leaves aiohttp.

aiohttp parses the request and answers the upgrade. Then `take_over` takes the transport, and aiohttp
forgets the connection with its request, parser and tasks: a client that is served for days holds none.

The one file that uses private names of aiohttp's protocol and response: `_post_start`, which sets a reader,
and `_message_tail`, the bytes that came behind the upgrade. A unit test names them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import hdrs, web
from aiohttp.http_websocket import WebSocketWriter

VERSION = "13"  # of the protocol in RFC 6455
KEY = re.compile(r"[A-Za-z0-9+/]{22}==")  # 16 bytes in base64

# Makes the protocol that follows aiohttp's, from the transport and the bytes that came behind the upgrade.
Follower = Callable[[asyncio.Transport, bytes], asyncio.Protocol]


class Upgrade(web.WebSocketResponse):
    """aiohttp's response to an upgrade, without a reader."""

    def __init__(self, protocols: Iterable[str] = ()) -> None:
        super().__init__(protocols=protocols, compress=False)
        self._is_sent = False

    def can_prepare(self, request: web.BaseRequest) -> web.WebSocketReady:
        """Whether this is an upgrade by RFC 6455.

        aiohttp also accepts two drafts of RFC 6455 and invalid keys, and fails on headers that are no text.
        """
        if request.headers.get(hdrs.SEC_WEBSOCKET_VERSION) != VERSION:
            return web.WebSocketReady(False, None)
        if not KEY.fullmatch(request.headers.get(hdrs.SEC_WEBSOCKET_KEY, "")):
            return web.WebSocketReady(False, None)
        try:
            return super().can_prepare(request)
        except UnicodeEncodeError:  # a header that is no text
            return web.WebSocketReady(False, None)

    def _post_start(self, request: web.BaseRequest, protocol: str | None, writer: WebSocketWriter) -> None:
        self._is_sent = True

    @property
    def prepared(self) -> bool:
        return self._is_sent

    async def write_eof(self, data: bytes = b"") -> None:
        """Send nothing: whoever has taken over the connection ends it."""


def take_over(request: web.BaseRequest, follower: Follower) -> None:
    """Make another protocol that of the transport; aiohttp regards the connection as lost.

    Raises ConnectionError if the client is gone.
    """
    handler: Any = request.protocol
    transport: asyncio.Transport | None = handler.transport
    if transport is None:
        raise ConnectionResetError("the client is gone")
    early, handler._message_tail = handler._message_tail, b""
    handler.transport = None  # else aiohttp would close it
    try:
        transport.set_protocol(follower(transport, early))
    except BaseException:
        transport.abort()  # nobody would ever end it
        raise
    finally:
        handler.connection_lost(None)
