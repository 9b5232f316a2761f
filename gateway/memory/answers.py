"""Answers by REST that their clients have not taken yet: aiohttp hands them over and keeps them for ever.

A middleware writes each large one itself, a slice when the client has taken the one before, so that one body
serves all who asked for it, and the guard can count it, and cut off who does not read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from aiohttp import hdrs, web

from gateway.wire.frames import PIECE_BYTES

ANSWER_SECONDS = 60.0  # for a client to take a large answer
LARGE_BYTES = PIECE_BYTES  # beyond it an answer is written here
KNOWN_BYTES = 1024 * 1024  # beyond it the pace of a client is what it took since the answer began

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Answer:
    """One that is being written; others may have the same body."""

    def __init__(self, transport: asyncio.Transport, body: bytes) -> None:
        self._transport = transport
        self._began_at = time.monotonic()
        self.body = body
        self.sent_bytes = 0  # of the body

    @property
    def own_bytes(self) -> int:
        """What the network has not taken of what was written."""
        return self._transport.get_write_buffer_size()

    @property
    def unsent_bytes(self) -> int:
        return len(self.body) - self.sent_bytes

    @property
    def taken_bytes(self) -> int:
        return self.sent_bytes - self.own_bytes

    def first_rate(self, now: float) -> float | None:
        """Bytes a second that the client took so far; None where the answer is too small to tell."""
        if len(self.body) <= KNOWN_BYTES:
            return None
        return max(0, self.taken_bytes) / max(now - self._began_at, 0.001)

    def part_slow(self) -> None:
        self._transport.abort()


class Answers:
    """All that are being written."""

    def __init__(self) -> None:
        self._answers: set[Answer] = set()
        self._being_built: list[int] = []  # bytes of what is made into a body now

    def __repr__(self) -> str:
        return f"<Answers: {len(self._answers)} under way>"

    @property
    def being_built_bytes(self) -> int:
        return sum(self._being_built)

    @contextmanager
    def building(self, size: int) -> Iterator[None]:
        """Count bytes of which a body is made."""
        self._being_built.append(size)
        try:
            yield
        finally:
            self._being_built.remove(size)

    def __iter__(self) -> Iterator[Answer]:
        return iter(self._answers)

    def middleware(self) -> Any:
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
            with suppress(ConnectionError):  # the client is gone
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
    """Yield a large body in pieces for each of which aiohttp waits until the client took most of it.

    It does not wait for less than LARGE_BYTES.
    """
    count = len(body) // (LARGE_BYTES + 1)
    for number in range(count):
        yield body[len(body) * number // count : len(body) * (number + 1) // count]
