"""Closes connections that an administrator wants closed, a few at a time.

A user may have ten thousand connections: between two batches the node serves its other clients.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from itertools import islice

from gateway.websocket.connection import Connection
from gateway.websocket.timings import DEFAULTS, WebSocketTimings
from gateway.wire.events import Closing, Refused
from realtime.errors import CLOSE_CODE, CLOSE_SERVICE_RESTART, Code
from realtime.waiting.survival import Part

CLOSES_AT_ONCE = 100  # connections in a batch,
SUBSCRIPTIONS_AT_ONCE = 2_000  # and about so many subscriptions, which end one by one
RETURNS_PER_SECOND = 500  # of clients that are asked to come back, by all that one request closes on a node

_part = Part("disconnect")


class Disconnecting:
    """The connections that are about to be closed; `run` closes them."""

    def __init__(self, timings: WebSocketTimings = DEFAULTS) -> None:
        self._timings = timings
        self._leaving: dict[Connection, Closing | None] = {}  # with the message before the close, if any
        self._is_asked = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Disconnecting {len(self._leaving)} connections>"

    def add(self, connections: Iterable[Connection], *, reconnect: bool) -> int:
        """Close these connections soon; return how many of them were not about to be closed already."""
        new = [one for one in connections if one not in self._leaving and not one.is_ending]
        for one in new:
            after = random.random() * len(new) / RETURNS_PER_SECOND  # noqa: S311
            self._leaving[one] = Closing(int(1000 * after), "disconnected") if reconnect else None
        if new:
            self._is_asked.set()
        return len(new)

    async def run(self) -> None:
        """Close connections until cancelled."""
        while True:
            await self._is_asked.wait()
            for connection in self._next():
                with _part.survives(connection.session.connection_id):
                    _close(connection, self._leaving.pop(connection))
            if self._leaving:
                await asyncio.sleep(self._timings.close_batch_seconds)
            else:
                self._is_asked.clear()

    def _next(self) -> list[Connection]:
        batch: list[Connection] = []
        subscriptions = 0
        for connection in islice(self._leaving, CLOSES_AT_ONCE):
            batch.append(connection)
            subscriptions += len(connection.session.channels)
            if subscriptions >= SUBSCRIPTIONS_AT_ONCE:
                break
        return batch


def _close(connection: Connection, closing: Closing | None) -> None:
    if connection.is_ending:
        return
    if closing is not None:
        connection.say(closing)
        connection.close(CLOSE_SERVICE_RESTART)
    else:
        reason = Refused(Code.DISCONNECTED, "an administrator closed this connection")
        connection.close(CLOSE_CODE[reason.code], reason)
