"""aiohttp's WebSocket as this service uses it, with an intake in front of its reader.

The one file that uses private names of aiohttp: `_post_start`, which sets the reader, and of the protocol
`_message_tail`, the bytes that came before the reader was set, and `_payload_parser`, the reader. A unit test
names them.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import WebSocketError, WSCloseCode, WSMessage, WSMsgType, hdrs, web
from aiohttp.http_websocket import WebSocketWriter

from gateway.websocket.frame_rules import may_close_with
from gateway.websocket.intake import FrameIntake
from gateway.websocket.pace import Pace
from gateway.websocket.turns import Turns
from realtime.settings.config import Limits

CLOSE_SECONDS = 3.0  # for a client to answer our close
VERSION = "13"  # of the protocol in RFC 6455
KEY = re.compile(r"[A-Za-z0-9+/]{22}==")  # 16 bytes in base64


class WebSocket(web.WebSocketResponse):
    """A WebSocket that reads nothing until it is opened, and refuses what RFC 6455 forbids a client."""

    # aiohttp sets nearly 30 attributes. With more, Python keeps a whole dict for each object, of 1.5 KiB.
    __slots__ = ("_intake", "_limits", "_network", "_turns")

    def __init__(self, limits: Limits, turns: Turns, protocols: Iterable[str] = ()) -> None:
        super().__init__(
            protocols=protocols,
            autoclose=False,
            autoping=False,
            compress=False,
            max_msg_size=limits.max_message_bytes + 1,  # the first size that aiohttp refuses
            timeout=CLOSE_SECONDS,
        )
        self._limits = limits
        self._turns = turns
        self._intake: FrameIntake | None = None  # set when the upgrade is answered
        self._network: asyncio.Transport | None = None  # set when the upgrade is answered

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
        handler: Any = request.protocol
        if handler.transport is None:
            raise ConnectionResetError("the client is gone")
        early, handler._message_tail = handler._message_tail, b""
        super()._post_start(request, protocol, writer)
        pace = Pace.of_client(
            self._limits.messages_per_second, self._limits.max_message_bytes, time.monotonic()
        )
        self._intake = FrameIntake(handler._payload_parser, handler.transport, pace, early, self._turns)
        handler._payload_parser = self._intake
        self._network = handler.transport

    @property
    def untaken_bytes(self) -> int:
        """Bytes that came from the client and were not taken yet."""
        return 0 if self._intake is None else self._intake.waiting_bytes

    def open(self, on_frames: Callable[[int, int], None]) -> None:
        """Begin to read; `on_frames` gets the counts of control frames and of small fragments."""
        assert self._intake is not None, "prepared before"
        self.headers.clear()  # the client has them
        self._intake.open(on_frames)

    def write_frame(self, frame: bytes) -> None:
        """Send a whole frame, unless the client is gone."""
        if self._network is not None and not self._network.is_closing():
            self._network.write(frame)

    async def receive(self, timeout: float | None = None) -> WSMessage:
        """Return the next message or control frame; ERROR after a violation that closed the connection."""
        message: WSMessage = await super().receive(timeout)
        assert self._intake is not None, "prepared before"
        self._intake.taken()
        return await self._answer_close(message) if message.type is WSMsgType.CLOSE else message

    async def _answer_close(self, message: WSMessage) -> WSMessage:
        """Answer a client's close with its own code, or with 1002 if that code must not be sent."""
        code = message.data or WSCloseCode.OK
        if may_close_with(code):
            await self.close(code=code, drain=False)
            return message
        await self.close(code=WSCloseCode.PROTOCOL_ERROR, drain=False)
        error = WebSocketError(WSCloseCode.PROTOCOL_ERROR, f"a close with {code}")
        return WSMessage(WSMsgType.ERROR, error, None)

    async def close(self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True) -> bool:
        """Close the WebSocket, if it is open; what the client still sends is not taken any more."""
        if self._intake is not None:
            self._intake.close()
        return await super().close(code=code, message=message, drain=drain)


def utf8_bytes(text: str) -> int:
    """Return the size of a message as it came."""
    return len(text) if text.isascii() else len(text.encode())
