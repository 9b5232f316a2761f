"""This node's people in Redis: who is connected, who is present, and how they went.

Connections say what happened; what could not be told while Redis was away is told later, in order. A
departure that is still untold when the node dies, or gives its life up, is told by the survivors.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from gateway.presence.heartbeats import LOOK_SECONDS, Beats
from gateway.presence.index import Place, Places
from gateway.presence.node import Node
from gateway.presence.pending import Owed, Told, is_hopeless, nothing
from gateway.presence.store import Arrival, Change, Departure, Open, People
from gateway.publish.batcher import Gatherer
from realtime.errors import ClientError, Code, Unavailable
from realtime.settings.config import Limits
from realtime.waiting.survival import Part

RETRY_SECONDS = 1.0
# A fail-over of one server of a cluster brings back who left a topic last, and not what another server noted.
LINGER_SECONDS = 60.0
MOST_LINGERING = 20_000  # topics; beyond it those that were left first are forgotten at once
HOLD_SECONDS = 10.0  # at most, for a client that finds no place, until it is known whose they are
MOST_HELD = 10_000  # such clients; beyond it they are refused at once

_part = Part("registry")


@dataclass(slots=True)
class _Admission:
    arrival: Arrival
    reached: str | None = None  # the limit that forbids it


@dataclass(frozen=True, slots=True)
class _PresenceChange:
    place: Place
    change: Change | None  # None only keeps what is there from expiring


@dataclass(frozen=True, slots=True)
class _Vacancy:
    """Nobody of this node was left under a topic, so that survivors need not look there."""

    place: Place


class Registry:
    """What this node tells Redis about its people."""

    def __init__(self, people: People, node: Node, beats: Beats) -> None:
        self.people = people
        self.node = node
        self._beats = beats
        self._held = 0  # clients that wait for a place
        self._places = Places()  # changed in the order in which presence is sent
        self._left_at: dict[Place, float] = {}  # when the last went, monotonic, oldest first; to be vacated
        self._owed = Owed(node.give_life_up)
        self._presence: Gatherer[_PresenceChange | _Vacancy] = Gatherer(
            lambda items: partial(self._send_presence, items), repeatable=True
        )
        self._connections: Gatherer[_Admission | Departure] = Gatherer(
            lambda items: partial(self._send_connections, items), repeatable=True
        )
        node.on_renewed = self._keep_quiet_topics

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._presence.run(), name="tell presence")
            tasks.create_task(self._connections.run(), name="tell connections")

    async def settle(self) -> None:
        """Wait until everything that was put has been sent, or refused, and nothing is owed any more."""
        await self._presence.settle()
        await self._connections.settle()
        await self._owed.settle()

    def begin_anew(self) -> None:
        """The node has begun a new life, and everybody who is here is about to be put back."""
        self._owed.begin_anew()

    async def admit(self, project: str, facts: Open, limits: Limits) -> None:
        """Let a connection in; raises ClientError `too_many_connections`, Unavailable if nobody can count."""
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
        """Tell which lives are not known to be alive, as often as that changes, until it is known of all.

        Of a node that was killed a moment ago the next beat does not come, and of one that is well it does.
        """
        told: tuple[str, ...] = ()
        given_up_at = time.monotonic() + HOLD_SECONDS
        while True:
            census = await self._beats.census()
            if census.suspects != told:
                told = census.suspects
                yield told
            if census.at >= asked_at or time.monotonic() > given_up_at:
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def _arrive(
        self, project: str, facts: Open, limits: Limits, suspects: tuple[str, ...] = ()
    ) -> str | None:
        """Let a connection in, or return the limit that forbids it."""
        node = self.node
        arrival = Arrival(project, node.life, node.lives_before, facts, limits, suspects=suspects)
        admission = _Admission(arrival)
        await self._connections.put(admission)
        return admission.reached

    def readmit(self, project: str, facts: Open, limits: Limits, is_open: Callable[[], bool]) -> None:
        """Count a connection that was let in before, as long as it is open."""

        def put() -> asyncio.Future[None] | None:
            if not is_open():
                return None
            arrival = Arrival(project, self.node.life, self.node.lives_before, facts, limits, is_in=True)
            return self._connections.put(_Admission(arrival))

        self._owed.owe(put)

    def depart(self, project: str, facts: Open, code: int, reason: str | None) -> None:
        """Record the end of a connection."""
        life, lives_before = self.node.life, self.node.lives_before
        departure = Departure(project, life, lives_before, facts, code, reason, time.time())
        self._owed.owe(lambda: self._connections.put(departure), of_the_gone=True)

    def set_presence(
        self, project: str, topic: str, connection_id: str, entry: bytes | None
    ) -> asyncio.Future[None]:
        """Set or end a connection's presence under a topic; done when Redis has it.

        If that fails nobody knows whether Redis has it: then `restore_presence` what is true.
        """
        if entry is None:
            self._remove_from_lives_before(project, topic, connection_id)
        change = Change(f"{self.node.life}/{connection_id}", entry)
        return self._presence.put(_PresenceChange((project, topic), change))

    def _remove_from_lives_before(self, project: str, topic: str, connection_id: str) -> None:
        """What was put there before this node knew that it had ended is looked for by nobody else."""
        for life in self.node.lives_before:
            change = Change(f"{life}/{connection_id}", None)
            self._presence.put(_PresenceChange((project, topic), change))

    def end_presence(self, project: str, topic: str, connection_id: str) -> None:
        """End the presence of a connection that is gone."""
        self._owed.owe(lambda: self.set_presence(project, topic, connection_id, None), of_the_gone=True)

    def restore_presence(
        self,
        project: str,
        topic: str,
        connection_id: str,
        entry: Callable[[], bytes | None],
        told: Told = nothing,
    ) -> None:
        """Let Redis have what `entry` says whenever it is tried, under the present life only; then `told`."""

        def put() -> asyncio.Future[None]:
            if (now := entry()) is not None:
                self._remove_from_lives_before(project, topic, connection_id)
            return self.set_presence(project, topic, connection_id, now)

        self._owed.owe(put, told)

    async def _send_connections(self, items: list[_Admission | Departure]) -> None:
        for kind, run in groupby(items, type):
            if kind is Departure:
                await self.people.disconnect([one for one in run if isinstance(one, Departure)])
            else:
                admissions = [one for one in run if isinstance(one, _Admission)]
                answers = await self.people.connect([one.arrival for one in admissions])
                for admission, reached in zip(admissions, answers, strict=True):
                    admission.reached = reached

    async def _send_presence(self, items: list[_PresenceChange | _Vacancy]) -> None:
        self._places.begin(self.node.life)
        changes: dict[Place, list[Change]] = defaultdict(list)
        for item in items:
            if isinstance(item, _PresenceChange) and not self._is_of_a_life_before(item.change):
                changes[item.place] += [] if item.change is None else [item.change]
        if changes:
            await self._change(changes)
        if vacant := self._places.forget(item.place for item in items if isinstance(item, _Vacancy)):
            await self._forget(vacant)

    def _is_of_a_life_before(self, change: Change | None) -> bool:
        """Whether it would put somebody under a life that is over; who is here is put back under this one."""
        return (
            change is not None
            and change.entry is not None
            and not change.field.startswith(f"{self.node.life}/")
        )

    async def _change(self, changes: dict[Place, list[Change]]) -> None:
        """Tell those who may have to clean up after us where to look, before there is anything."""
        if new := self._places.to_note(changes):
            await self.people.note_topics(self._places.life, new)
            self._places.note(new)
        self._places.expect(changes)
        await self.people.change_presence(changes)
        now = time.monotonic()
        for place in self._places.carried_out(changes, now):
            if self._left_at.pop(place, None) is None:
                asyncio.get_running_loop().call_later(LINGER_SECONDS, self._vacate_if_due, place)
            self._left_at[place] = now
        while len(self._left_at) > MOST_LINGERING:
            oldest = next(iter(self._left_at))
            del self._left_at[oldest]
            self._vacate(oldest)

    def _vacate_if_due(self, place: Place) -> None:
        """Vacate a place when the last one went long enough ago for a fail-over not to bring it back."""
        if (left_at := self._left_at.get(place)) is None:
            return
        if (wait := left_at + LINGER_SECONDS - time.monotonic()) > 0:
            asyncio.get_running_loop().call_later(wait, self._vacate_if_due, place)
        else:
            del self._left_at[place]
            self._vacate(place)

    def _vacate(self, place: Place) -> None:
        """Forget a place in its turn, unless somebody is there again by then."""
        _then(self._presence.put(_Vacancy(place)), lambda: None, or_again=partial(self._vacate, place))

    async def _forget(self, places: list[Place]) -> None:
        """Let survivors look there no more; if that fails, what went with it was carried out all the same."""
        try:
            await self.people.forget_topics(self._places.life, places)
        except Unavailable:
            for place in places:
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._vacate, place)

    def _keep_quiet_topics(self) -> None:
        """Let Redis not take for rubbish where people are but nothing happens."""
        for place in self._places.to_keep(time.monotonic()):
            self._presence.put(_PresenceChange(place, None))


def _then(told: asyncio.Future[None], do: Callable[[], None], or_again: Callable[[], None]) -> None:
    """Do something when it is told, or try again in a while. What failed as `internal` would fail again."""

    def look(told: asyncio.Future[None]) -> None:
        if told.cancelled() or (told.exception() is not None and not is_hopeless(told)):
            asyncio.get_running_loop().call_later(RETRY_SECONDS, or_again)
        else:
            do()

    told.add_done_callback(look)
