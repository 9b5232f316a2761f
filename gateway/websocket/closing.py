"""Closes connections: those of clients that are refused, and those of clients that were admitted.

A client gets the reason in an event before the close frame, which a browser can read; then the client has
CLOSE_SECONDS to answer. The node does not wait for a client that may not be reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from gateway import metrics
from gateway.session.session import refusal
from gateway.websocket.web_socket import CLOSE_SECONDS, WebSocket
from gateway.wire.codec import Codec
from gateway.wire.events import Refused
from gateway.wire.send_queue import SendQueue
from realtime.errors import CLOSE_CODE, ClientError

PARTING_BYTES = 65_536  # if more bytes than that wait, the client may not be reading at all
POLL_SECONDS = 0.02  # between two looks whether connections are gone


async def wait_until_gone(are_gone: Callable[[], bool]) -> None:
    """Wait until all of some connections are gone, for as long as a client may take to answer a close."""
    clock = asyncio.get_running_loop()
    deadline = clock.time() + CLOSE_SECONDS + 1
    while not are_gone() and clock.time() < deadline:
        await asyncio.sleep(POLL_SECONDS)


async def refuse(web_socket: WebSocket, codec: Codec, error: ClientError) -> None:
    """Tell a client why it is refused, and close its WebSocket."""
    metrics.errors.labels(error.code).inc()
    metrics.closes.labels(CLOSE_CODE[error.code]).inc()
    metrics.messages_sent.inc()
    web_socket.write_frame(codec.encode(refusal(error)))
    with suppress(ConnectionError):  # the client is gone already
        await web_socket.close(code=CLOSE_CODE[error.code])


class Ending:
    """The end of one connection: its close code, and whether this node has begun to close."""

    __slots__ = ("_close_seconds", "_queue", "_task", "_web_socket", "outcome")

    def __init__(self, web_socket: WebSocket, queue: SendQueue, close_seconds: float = CLOSE_SECONDS) -> None:
        self._web_socket = web_socket
        self._queue = queue
        self._close_seconds = close_seconds
        self._task: asyncio.Task[None] | None = None  # closes the WebSocket; None until this node begins to
        self.outcome: tuple[int, str | None] | None = None  # close code and reason, as far as they are known

    def __repr__(self) -> str:
        return f"<Ending {'begun' if self.has_begun else 'not begun'}, outcome {self.outcome}>"

    @property
    def has_begun(self) -> bool:
        """Whether this node is closing the connection."""
        return self._task is not None

    @property
    def is_near(self) -> bool:
        """Whether messages no longer reach the client, or soon will not."""
        return self.has_begun or self._queue.is_closed

    def begin(self, code: int, reason: Refused | None) -> None:
        """Begin to close: tell the client why, and give it a moment to answer."""
        self._decide(code, reason)
        self._task = asyncio.create_task(self._close(code, reason), name="close a WebSocket")

    def part(self, code: int, reason: Refused) -> None:
        """Close at once, without waiting for a client that does not read."""
        self._decide(code, reason)
        self._part(code, reason)

    def note_close(self, code: int) -> None:
        """Note that the client closed with this code."""
        if self.outcome is None:
            self.outcome = (code, None)

    def note_violation(self, code: int) -> None:
        """Note that a violation of the WebSocket protocol closed the connection, if nothing did before."""
        if self.outcome is None:
            metrics.closes.labels(code).inc()
            self.outcome = (code, None)

    async def wait(self) -> None:
        """Wait until the close that this node began is over."""
        if self._task is not None:
            await self._task

    def _decide(self, code: int, reason: Refused | None) -> None:
        metrics.closes.labels(code).inc()
        self.outcome = (code, reason.code if reason else None)

    async def _close(self, code: int, reason: Refused | None) -> None:
        if self._queue.waiting_bytes > PARTING_BYTES:
            self._part(code, reason)
            return
        if reason is not None:
            self._queue.say(reason)
        self._queue.write()
        try:
            async with asyncio.timeout(self._close_seconds):
                await self._web_socket.close(code=code)
        except TimeoutError:
            self._queue.abort()

    def _part(self, code: int, reason: Refused | None) -> None:
        self._queue.part(self._queue.codec.encode(reason) if reason is not None else b"", code)
