"""A client's WebSocket after its upgrade: the protocol of the transport, an intake and aiohttp's reader.

Bytes pass the intake, and aiohttp's reader makes messages of them. Reader and queue are made when bytes are
let in, and dropped when all messages are taken: a client that says nothing has none. The one file that uses
a private name of aiohttp's queue: `_reading_paused`, by which the queue asks whether it has paused its
protocol. A unit test names it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, cast

from aiohttp import EofStream, WebSocketError, WSCloseCode, WSMessage, WSMsgType
from aiohttp.http_websocket import WS_CLOSED_MESSAGE, WS_CLOSING_MESSAGE, WebSocketReader
from aiohttp.web_ws import WebSocketDataQueue  # type: ignore[attr-defined]  # what the reader writes to

from gateway.websocket.frame_rules import may_close_with
from gateway.websocket.intake import FrameIntake
from gateway.websocket.pace import Pace
from gateway.websocket.turns import Turns
from gateway.wire.frames import close_frame
from realtime.settings.config import Limits
from realtime.waiting.survival import Part

CLOSE_SECONDS = 3.0  # for a client to answer our close
FLUSH_SECONDS = 30.0  # for a client to read what was sent before the end
QUEUE_BYTES = 2**30  # in aiohttp's queue; the intake lets in far less

_part = Part("connection")


class _Unpaused:
    """A protocol for aiohttp's queue: the intake alone pauses reading."""

    _reading_paused: Final = False

    def pause_reading(self) -> None:
        pass


_UNPAUSED: Any = _Unpaused()


class WebSocket(asyncio.Protocol):
    """A WebSocket that reads nothing until it is opened, and refuses what RFC 6455 forbids a client."""

    __slots__ = (
        "_drained",
        "_intake",
        "_is_closed",
        "_is_closing",
        "_is_paused",
        "_max_bytes",
        "_queue",
        "_reader",
        "_waiter",
        "close_code",
        "network",
    )

    def __init__(self, network: asyncio.Transport, early: bytes, limits: Limits, turns: Turns) -> None:
        self.close_code: int | None = None  # of the client's close frame; 1006 without one
        self.network = network
        self._max_bytes = limits.max_message_bytes + 1  # the first size that aiohttp refuses
        self._reader: WebSocketReader | None = None
        self._queue: WebSocketDataQueue | None = None  # the messages of `_reader`
        self._waiter: asyncio.Future[None] | None = None  # of `receive`, until a frame has come
        self._is_closing = False  # the client's close frame has come, or `receive` was ended
        self._is_closed = False  # this node has sent its close frame, or the connection is lost
        self._is_paused = False  # the transport has more to write than it likes
        self._drained: asyncio.Future[None] | None = None  # of `close`, until the transport has less
        pace = Pace.of_client(limits.messages_per_second, limits.max_message_bytes, time.monotonic())
        self._intake = FrameIntake(self, network, pace, early, turns)

    def __repr__(self) -> str:
        return f"<WebSocket {'closed' if self._is_closed else 'open'}, {self._intake!r}>"

    # Called by the transport

    def data_received(self, data: bytes) -> None:
        try:
            self._intake.feed_data(data)
        except Exception as error:
            _part.note(error)
            self.network.abort()

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        _wake(self._drained)

    def connection_lost(self, exc: Exception | None) -> None:
        self._intake.feed_eof()
        _wake(self._drained)

    # Called by the intake

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take whole headers, and what follows them; return whether the reader refuses what came."""
        is_end, tail = (self._reader or self._begin_to_read()).feed_data(data)
        if is_end or self._intake.has_frames:
            _wake(self._waiter)
        return is_end, tail

    def feed_eof(self) -> None:
        """End reading; what was let in can still be received."""
        if self._reader is not None:
            self._reader.feed_eof()
        _wake(self._waiter)

    # Called by the connection

    @property
    def untaken_bytes(self) -> int:
        """Bytes that came from the client and were not taken yet."""
        return self._intake.waiting_bytes

    def open(self, on_frames: Callable[[int, int], None]) -> None:
        """Begin to read; `on_frames` gets the counts of control frames and of small fragments."""
        self._intake.open(on_frames)

    def write_frame(self, frame: bytes) -> None:
        """Send a whole frame, unless the client is gone."""
        if not self.network.is_closing():
            self.network.write(frame)

    async def receive(self) -> WSMessage:
        """Return the next message or control frame; ERROR after a violation that closed the connection."""
        while not self._is_closed and not self._intake.has_frames:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._is_closed:
            return WS_CLOSING_MESSAGE if self._is_closing else WS_CLOSED_MESSAGE
        if self._queue is None:
            return self._lost()
        try:
            message = cast(WSMessage, await self._queue.read())  # text is decoded
        except EofStream:
            return self._lost()
        except WebSocketError as error:
            await self.close(code=error.code)
            return WSMessage(WSMsgType.ERROR, error, None)
        self._intake.taken()
        if self._intake.is_at_rest:
            self._reader = self._queue = None
        return await self._answer_close(message) if message.type is WSMsgType.CLOSE else message

    async def close(self, *, code: int = WSCloseCode.OK, drain: bool = True) -> None:
        """Close the WebSocket, if it is open; what the client still sends is not taken any more."""
        self._intake.close()
        if self._is_closed:
            return
        self._is_closed = True
        if not self._is_closing:
            self.close_code = WSCloseCode.ABNORMAL_CLOSURE  # until the client's close frame has come
        try:
            self.write_frame(close_frame(code))
            if drain and self._is_paused and not self._intake.is_dead:
                self._drained = asyncio.get_running_loop().create_future()
                await self._drained
            if self._waiter is not None:
                self._is_closing, self.close_code = True, WSCloseCode.OK
                _wake(self._waiter)
            if not self._is_closing and not self.network.is_closing():
                async with asyncio.timeout(CLOSE_SECONDS):
                    self.close_code = await self._close_of_client()
        except (TimeoutError, EofStream, WebSocketError):
            pass  # there is no close frame of the client
        finally:
            self.network.close()

    def end(self) -> None:
        """Close the connection, if it is open; abort it later if the client does not read what was sent."""
        self.network.close()
        if self.network.get_write_buffer_size():
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.network.abort)

    # Helpers

    def _begin_to_read(self) -> WebSocketReader:
        self._queue = WebSocketDataQueue(_UNPAUSED, QUEUE_BYTES, loop=asyncio.get_running_loop())
        self._reader = WebSocketReader(self._queue, self._max_bytes, compress=False, decode_text=True)
        return self._reader

    def _lost(self) -> WSMessage:
        self._is_closed, self.close_code = True, WSCloseCode.ABNORMAL_CLOSURE
        self.network.close()
        return WS_CLOSED_MESSAGE

    async def _answer_close(self, message: WSMessage) -> WSMessage:
        """Answer a client's close with its own code, or with 1002 if that code must not be sent."""
        self._is_closing, self.close_code = True, message.data
        code = message.data or WSCloseCode.OK
        if may_close_with(code):
            await self.close(code=code, drain=False)
            return message
        await self.close(code=WSCloseCode.PROTOCOL_ERROR, drain=False)
        error = WebSocketError(WSCloseCode.PROTOCOL_ERROR, f"a close with {code}")
        return WSMessage(WSMsgType.ERROR, error, None)

    async def _close_of_client(self) -> int:
        """Wait for the client's close frame and return its code; other frames are dropped."""
        if self._queue is None:
            self._begin_to_read()
        assert self._queue is not None
        while True:
            message = await self._queue.read()
            if message.type is WSMsgType.CLOSE:
                return int(message.data)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def utf8_bytes(text: str) -> int:
    """Return the size of a message as it came."""
    return len(text) if text.isascii() else len(text.encode())
