"""Presence lists for REST: few lists are built at once, and all requests that wait for a topic share one.

Handlers ask; entries come from Redis and leave as one body for all requests. A request never gets a list that
was begun before the request: so the list has every presence that was acknowledged before the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from gateway.hub.roster import Roster
from gateway.presence.stores import Stores
from realtime.channels import TopicKey
from realtime.errors import Unavailable
from realtime.waiting.single_flight import SingleFlight

AT_ONCE = 2  # lists that a node builds at a time; each takes three times its size, 100 MB at the worst
TURN_SECONDS = 5.0  # that a list may wait before the node begins to build it

Counted = Callable[[int], AbstractContextManager[None]]


class PresenceLists:
    """Answers to `GET /presence`, by topic."""

    def __init__(self, stores: Stores, counted: Counted, turn_seconds: float = TURN_SECONDS) -> None:
        self._stores = stores
        self._counted = counted  # counts bytes while a body is built from them
        self._turn_seconds = turn_seconds
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._next: dict[TopicKey, SingleFlight[bytes]] = {}  # not begun yet: requests share them

    def __repr__(self) -> str:
        return f"<PresenceLists {len(self._next)} wait for their turn>"

    async def get(self, key: TopicKey) -> bytes:
        """Return the JSON of the answer; raises Unavailable."""
        if (flight := self._next.get(key)) is None:
            flight = self._next[key] = SingleFlight(name="build a presence list")
        return await flight.get(partial(self._in_turn, key))

    async def _in_turn(self, key: TopicKey) -> bytes:
        try:
            async with asyncio.timeout(self._turn_seconds):
                await self._turns.acquire()
        except TimeoutError as error:
            raise Unavailable("too many ask who is present; try again later") from error
        finally:
            del self._next[key]
        try:
            return await self._build(key)
        finally:
            self._turns.release()

    async def _build(self, key: TopicKey) -> bytes:
        project, topic = key
        _, members = await self._stores.presence.members(project, topic)
        size = sum(map(len, members.values()))
        with self._counted(2 * size):  # the entries, and the body that is made of them
            known = await self._stores.nodes.all()
            dead = {incarnation.encode() for incarnation, report in known.items() if report is None}
            roster = Roster(topic)
            roster.replace({f: entry for f, entry in members.items() if f.partition(b"/")[0] not in dead})
            entries = roster.entries()
            # Entries are passed on as bytes, so that numbers in states keep every digit.
            return b'{"count":%d,"presences":[%b]}' % (len(entries), b",".join(entries))
