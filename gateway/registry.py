"""This node's people in Redis: who is connected, who is present, and how they went.

Connections say what happened; what could not be told while Redis was away is told later, in order. A
departure that is still untold when the node dies is told by the survivors.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

from gateway.gatherer import Gatherer
from gateway.nodes import Node
from realtime.config import Limits
from realtime.errors import ClientError, Code
from realtime.people import Arrival, Change, Departure, Open, People

RETRY_SECONDS = 1.0
NO_LIMITS = Limits(max_connections=0)


@dataclass(slots=True)
class _Admission:
    arrival: Arrival
    reached: str | None = None  # the limit that forbids it


@dataclass(frozen=True, slots=True)
class _PresenceChange:
    project: str
    topic: str
    change: Change


class Registry:
    """What this node tells Redis about its people."""

    def __init__(self, people: People, node: Node) -> None:
        self.people = people
        self.node = node
        self._noted: set[tuple[str, str, str]] = set()  # life, project, topic: survivors know to look there
        self._presence: Gatherer[_PresenceChange] = Gatherer(self._send_presence)
        self._connections: Gatherer[_Admission | Departure] = Gatherer(self._send_connections)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._presence.run(), name="tell presence")
            tasks.create_task(self._connections.run(), name="tell connections")

    async def settle(self) -> None:
        """Wait until everything that was put has been sent, or refused."""
        await self._presence.settle()
        await self._connections.settle()

    async def admit(self, project: str, facts: Open, limits: Limits) -> None:
        """Let a connection in; raises ClientError `too_many_connections`, Unavailable if nobody can count."""
        admission = _Admission(Arrival(project, self.node.life, self.node.lives_before, facts, limits))
        await self._connections.put(admission)
        if admission.reached is not None:
            raise ClientError(Code.TOO_MANY_CONNECTIONS, f"{admission.reached} is reached")

    def readmit(self, project: str, facts: Open, is_open: Callable[[], bool]) -> None:
        """Count a connection that was let in before, as long as it is open."""
        if is_open():
            arrival = Arrival(project, self.node.life, self.node.lives_before, facts, NO_LIMITS)
            told = self._connections.put(_Admission(arrival))
            _or_again(told, lambda: self.readmit(project, facts, is_open))

    def depart(self, project: str, facts: Open, code: int, reason: str | None) -> None:
        """Record the end of a connection."""
        life, lives_before = self.node.life, self.node.lives_before
        self._put_departure(Departure(project, life, lives_before, facts, code, reason, time.time()))

    def _put_departure(self, departure: Departure) -> None:
        _or_again(self._connections.put(departure), lambda: self._put_departure(departure))

    def set_presence(
        self, project: str, topic: str, connection_id: str, entry: bytes | None
    ) -> asyncio.Future[None]:
        """Set or end a connection's presence under a topic; done when Redis has it."""
        if entry is None:
            self._remove_from_lives_before(project, topic, connection_id)
        change = Change(f"{self.node.life}/{connection_id}", entry)
        return self._presence.put(_PresenceChange(project, topic, change))

    def _remove_from_lives_before(self, project: str, topic: str, connection_id: str) -> None:
        """What was put there before this node knew that it had ended is looked for by nobody else."""
        for life in self.node.lives_before:
            change = Change(f"{life}/{connection_id}", None)
            self._presence.put(_PresenceChange(project, topic, change))

    def end_presence(self, project: str, topic: str, connection_id: str) -> None:
        """End the presence of a connection that is gone."""
        told = self.set_presence(project, topic, connection_id, None)
        _or_again(told, lambda: self.end_presence(project, topic, connection_id))

    def restore_presence(
        self, project: str, topic: str, connection_id: str, entry: Callable[[], bytes | None]
    ) -> None:
        """Put an entry back under the present life, and take it from those before."""
        if (now := entry()) is not None:
            self._remove_from_lives_before(project, topic, connection_id)
            told = self.set_presence(project, topic, connection_id, now)
            _or_again(told, lambda: self.restore_presence(project, topic, connection_id, entry))

    async def _send_connections(self, items: list[_Admission | Departure]) -> None:
        for kind, run in groupby(items, type):
            if kind is Departure:
                await self.people.disconnect([one for one in run if isinstance(one, Departure)])
            else:
                admissions = [one for one in run if isinstance(one, _Admission)]
                answers = await self.people.connect([one.arrival for one in admissions])
                for admission, reached in zip(admissions, answers, strict=True):
                    admission.reached = reached

    async def _send_presence(self, items: list[_PresenceChange]) -> None:
        changes: dict[tuple[str, str], list[Change]] = defaultdict(list)
        for item in items:
            changes[item.project, item.topic].append(item.change)
        await self._note(list(changes))
        await self.people.change_presence(changes)

    async def _note(self, topics: list[tuple[str, str]]) -> None:
        """Tell those who may have to clean up after us where to look, before there is anything."""
        life = self.node.life
        new = [topic for topic in topics if (life, *topic) not in self._noted]
        if new:
            await self.people.note_topics(life, new)
            self._noted.update((life, *topic) for topic in new)


def _or_again(told: asyncio.Future[None], again: Callable[[], None]) -> None:
    """Try again in a while if it could not be told."""

    def look(told: asyncio.Future[None]) -> None:
        if not told.cancelled() and told.exception() is not None:
            asyncio.get_running_loop().call_later(RETRY_SECONDS, again)

    told.add_done_callback(look)
