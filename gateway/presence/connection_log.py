"""Writes to Redis who is connected to this node, and how each connection ended.

The handshake admits a connection here and records its end. Writes that cannot be sent while Redis is not
available are sent later, in order. When a node has died, another node records the end of its connections.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from gateway.presence.connection_store import Arrival, ConnectionStore, Departure, Open
from gateway.presence.heartbeats import Heartbeats
from gateway.presence.node import Node
from gateway.presence.pending import Pending
from gateway.presence.timings import DEFAULTS
from gateway.publish.batcher import Batcher
from realtime.errors import ClientError, Code
from realtime.settings.config import Limits

HOLD_SECONDS = 10.0  # at most, that a client over a limit waits until it is known which nodes are dead
MOST_HELD = 10_000  # clients that wait like this; further clients are refused at once


@dataclass(slots=True)
class _Admission:
    arrival: Arrival
    reached: str | None = None  # the limit that forbids the connection


class ConnectionLog:
    """The open connections of this node, as Redis has them."""

    def __init__(
        self,
        store: ConnectionStore,
        node: Node,
        heartbeats: Heartbeats,
        pending: Pending,
        look_seconds: float = DEFAULTS.look_seconds,
    ) -> None:
        self._store = store
        self._node = node
        self._heartbeats = heartbeats
        self._pending = pending
        self._look_seconds = look_seconds
        self._held = 0  # clients that wait to be admitted
        self._connections: Batcher[_Admission | Departure] = Batcher(
            lambda items: partial(self._send_connections, items), repeatable=True
        )

    async def run(self) -> None:
        await self._connections.run()

    async def settle(self) -> None:
        """Wait until all writes that were put have been sent, or refused."""
        await self._connections.settle()

    async def admit(self, project: str, facts: Open, limits: Limits) -> None:
        """Admit a connection; raises ClientError `too_many_connections`, Unavailable without a count."""
        asked_at = time.monotonic()
        reached = await self._arrive(project, facts, limits)
        if reached is not None and self._held < MOST_HELD:
            self._held += 1
            try:
                async for suspects in self._suspects(asked_at):
                    if (reached := await self._arrive(project, facts, limits, suspects)) is None:
                        break
            finally:
                self._held -= 1
        if reached is not None:
            raise ClientError(Code.TOO_MANY_CONNECTIONS, f"{reached} is reached")

    async def _suspects(self, asked_at: float) -> AsyncIterator[tuple[str, ...]]:
        """Yield the incarnations not known to be alive, each time they change, until all nodes are known.

        A node that was killed a moment ago sends no next beat, and a healthy node sends one.
        """
        yielded: tuple[str, ...] = ()
        given_up_at = time.monotonic() + HOLD_SECONDS
        while True:
            census = await self._heartbeats.census()
            if census.suspects != yielded:
                yielded = census.suspects
                yield yielded
            if census.at >= asked_at or time.monotonic() > given_up_at:
                return
            await asyncio.sleep(self._look_seconds)

    async def _arrive(
        self, project: str, facts: Open, limits: Limits, suspects: tuple[str, ...] = ()
    ) -> str | None:
        """Admit a connection, or return the limit that forbids it."""
        node = self._node
        arrival = Arrival(project, node.incarnation, node.earlier, facts, limits, suspects=suspects)
        admission = _Admission(arrival)
        await self._connections.put(admission)
        return admission.reached

    def readmit(self, project: str, facts: Open, limits: Limits, is_open: Callable[[], bool]) -> None:
        """Count a connection that was admitted before, as long as it is open."""

        def put() -> asyncio.Future[None] | None:
            if not is_open():
                return None
            node = self._node
            arrival = Arrival(project, node.incarnation, node.earlier, facts, limits, is_in=True)
            return self._connections.put(_Admission(arrival))

        self._pending.add(put)

    def depart(self, project: str, facts: Open, code: int, reason: str | None) -> None:
        """Record the end of a connection."""
        incarnation, earlier = self._node.incarnation, self._node.earlier
        departure = Departure(project, incarnation, earlier, facts, code, reason, time.time())
        self._pending.add(lambda: self._connections.put(departure), of_the_gone=True)

    async def _send_connections(self, items: list[_Admission | Departure]) -> None:
        for kind, run in groupby(items, type):
            if kind is Departure:
                await self._store.disconnect([one for one in run if isinstance(one, Departure)])
            else:
                admissions = [one for one in run if isinstance(one, _Admission)]
                answers = await self._store.connect([one.arrival for one in admissions])
                for admission, reached in zip(admissions, answers, strict=True):
                    admission.reached = reached
