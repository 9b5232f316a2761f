"""Answers by REST that their clients have not taken yet: aiohttp hands them over and keeps them for ever.

A middleware writes each large one itself and waits, so that the keeper can count it, and cut it off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from aiohttp import web

from gateway.wire.frames import PIECE_BYTES

ANSWER_SECONDS = 60.0  # for a client to take a large answer
LARGE_BYTES = PIECE_BYTES  # beyond it an answer is waited for
LOOK_SECONDS = 0.05  # between two looks at what a client has taken of one

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Answer:
    """One that is being written."""

    def __init__(self, transport: asyncio.Transport, size: int) -> None:
        self._transport = transport
        self._size = size

    @property
    def waiting_bytes(self) -> int:
        return self._transport.get_write_buffer_size()

    @property
    def taken_bytes(self) -> int:
        return self._size - self.waiting_bytes

    def part_slow(self) -> None:
        self._transport.abort()


class Answers:
    """All that are being written."""

    def __init__(self) -> None:
        self._answers: set[Answer] = set()

    def __repr__(self) -> str:
        return f"<Answers: {len(self._answers)} under way>"

    def __iter__(self) -> Iterator[Answer]:
        return iter(self._answers)

    def middleware(self) -> Any:
        @web.middleware
        async def written(request: web.Request, handler: Handler) -> web.StreamResponse:
            response = await handler(request)
            body = response.body if isinstance(response, web.Response) else None
            if isinstance(body, bytes) and len(body) > LARGE_BYTES and not response.prepared:
                await self._write(request, response, len(body))
            return response

        return written

    async def _write(self, request: web.Request, response: web.StreamResponse, size: int) -> None:
        transport = request.transport
        if transport is None:
            return
        answer = Answer(transport, size)
        self._answers.add(answer)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await response.prepare(request)
                await response.write_eof()
                while answer.waiting_bytes > LARGE_BYTES and not transport.is_closing():
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            transport.abort()
        finally:
            self._answers.discard(answer)
