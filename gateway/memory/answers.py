"""REST answers that clients have not read yet: aiohttp passes them to the transport and keeps them for ever.

A middleware writes each large answer itself, slice by slice as the client reads. So all clients that asked
for it can share one body, and the memory guard can count it and abort clients that do not read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from gateway.http.middlewares import Handler
from gateway.wire.frames import PIECE_BYTES

ANSWER_SECONDS = 60.0  # for a client to read a large answer
LARGE_BYTES = PIECE_BYTES  # a larger answer is written here
KNOWN_BYTES = 1024 * 1024  # for a larger body, the first rate is that since the answer began


class Answer:
    """An answer that is being written; other answers may share its body."""

    def __init__(self, transport: asyncio.Transport, body: bytes) -> None:
        self._transport = transport
        self._began_at = time.monotonic()
        self.body = body
        self.sent_bytes = 0  # bytes of the body passed to aiohttp

    @property
    def own_bytes(self) -> int:
        """Written bytes that the network has not taken."""
        return self._transport.get_write_buffer_size()

    @property
    def unsent_bytes(self) -> int:
        return len(self.body) - self.sent_bytes

    @property
    def taken_bytes(self) -> int:
        return self.sent_bytes - self.own_bytes

    def first_rate(self, now: float) -> float | None:
        """Bytes a second that the client took so far; None if the answer is too small to tell."""
        if len(self.body) <= KNOWN_BYTES:
            return None
        return max(0, self.taken_bytes) / max(now - self._began_at, 0.001)

    def part_slow(self) -> None:
        self._transport.abort()


class Answers:
    """All answers that are being written."""

    def __init__(self) -> None:
        self._answers: set[Answer] = set()
        self.being_built_bytes = 0  # of the data from which bodies are built now

    def __repr__(self) -> str:
        return f"<Answers: {len(self._answers)} under way>"

    @contextmanager
    def building(self, size: int) -> Iterator[None]:
        """Count the data from which a body is built."""
        self.being_built_bytes += size
        try:
            yield
        finally:
            self.being_built_bytes -= size

    def __iter__(self) -> Iterator[Answer]:
        return iter(self._answers)

    def middleware(self) -> Middleware:
        @web.middleware
        async def written(request: web.Request, handler: Handler) -> web.StreamResponse:
            response = await handler(request)
            body = response.body if isinstance(response, web.Response) else None
            if not isinstance(body, bytes) or len(body) <= LARGE_BYTES:
                return response
            if response.prepared or request.method == hdrs.METH_HEAD:
                return response
            return await self._write(request, response, body)

        return written

    async def _write(
        self, request: web.Request, response: web.StreamResponse, body: bytes
    ) -> web.StreamResponse:
        transport = request.transport
        if transport is None:
            return response
        sliced = web.StreamResponse(status=response.status, reason=response.reason, headers=response.headers)
        sliced.content_length = len(body)
        answer = Answer(transport, body)
        self._answers.add(answer)
        try:
            with suppress(ConnectionError):  # the client has disconnected
                async with asyncio.timeout(ANSWER_SECONDS):
                    await sliced.prepare(request)
                    for piece in _pieces(body):
                        answer.sent_bytes += len(piece)
                        await sliced.write(piece)
        except TimeoutError:
            transport.abort()
        finally:
            self._answers.discard(answer)
        return sliced


def _pieces(body: bytes) -> Iterator[bytes]:
    """Yield a large body in pieces; after each, aiohttp waits until the client took most of it.

    Each piece is larger than LARGE_BYTES, since aiohttp does not wait for less.
    """
    count = len(body) // (LARGE_BYTES + 1)
    for number in range(count):
        yield body[len(body) * number // count : len(body) * (number + 1) // count]
