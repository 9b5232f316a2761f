"""Tells Redis which of this node's clients are present, and where.

Connections set, end and restore presence here. What cannot be sent while Redis is away is sent later, in
order. The survivors end the presence of a node that has died, or that has given its life up.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from gateway.presence.index import PresenceIndex
from gateway.presence.node import Node
from gateway.presence.pending import Pending, Told, is_hopeless, nothing
from gateway.presence.store import Change, People
from gateway.projects.project import Tenant
from gateway.publish.batcher import Batcher
from realtime.channels import TopicKey
from realtime.errors import Unavailable

RETRY_SECONDS = 1.0
# A fail-over of one server of a cluster brings back who left a topic last, and not what another server noted.
LINGER_SECONDS = 60.0
MOST_LINGERING = 20_000  # topics; beyond it those that were left first are forgotten at once


@dataclass(frozen=True, slots=True)
class _PresenceChange:
    place: TopicKey
    change: Change | None  # None only keeps what is there from expiring


@dataclass(frozen=True, slots=True)
class _Vacancy:
    """Nobody of this node was left under a topic, so that survivors need not look there."""

    place: TopicKey


class PresenceWriter:
    """The presence of this node's clients, as Redis has it."""

    def __init__(
        self, people: People, node: Node, pending: Pending, hears: Callable[[TopicKey], bool]
    ) -> None:
        self._people = people
        self._node = node
        self._pending = pending
        self._hears = hears  # whether messages of a topic would be delivered now
        self.is_full = False  # clients are present with as much as this node has room for
        self._index = PresenceIndex()  # changed in the order in which presence is sent
        self._left_at: dict[
            TopicKey, float
        ] = {}  # when the last went, monotonic, oldest first; to be vacated
        self._changes: Batcher[_PresenceChange | _Vacancy] = Batcher(
            lambda items: partial(self._send_changes, items), repeatable=True
        )
        node.on_renewed = self._keep_quiet_topics

    def __repr__(self) -> str:
        return f"<PresenceWriter {self._index!r}>"

    async def run(self) -> None:
        await self._changes.run()

    async def settle(self) -> None:
        """Wait until everything that was put has been sent, or refused."""
        await self._changes.settle()

    def set(
        self, tenant: Tenant, topic: str, connection_id: str, entry: bytes | None
    ) -> asyncio.Future[None]:
        """Set a connection's presence, or end it with None; the future is done when Redis has it.

        Raises Unavailable at once while Redis is away, or while the node has no room for more presence
        (`is_full`), and ClientError `rate_limited` where the project has as much presence as it may. If the
        future fails, Redis may have it or not: then `restore` what is true. What was there counts until then.
        """
        if not self._hears((tenant.project_id, topic)):
            raise Unavailable("Redis cannot be reached now")
        key = (connection_id, topic)
        if entry is None:
            ended = self._put(tenant.project_id, topic, connection_id, None)

            def release_if_ended(ended: asyncio.Future[None]) -> None:
                if not ended.cancelled() and ended.exception() is None:
                    tenant.presence.release(key)

            ended.add_done_callback(release_if_ended)
            return ended
        if self.is_full:
            raise Unavailable("clients of this node are present with as much as it has room for")
        size = len(entry)
        before = tenant.presence.take(key, size, tenant.limits.max_presence_bytes)
        acknowledged = self._put(tenant.project_id, topic, connection_id, entry)

        def undo_if_failed(acknowledged: asyncio.Future[None]) -> None:
            if acknowledged.cancelled() or acknowledged.exception() is not None:
                tenant.presence.undo(key, size, before)

        acknowledged.add_done_callback(undo_if_failed)
        return acknowledged

    def end(self, tenant: Tenant, topic: str, connection_id: str) -> None:
        """End the presence of a connection that is gone, as soon as that can be."""
        tenant.presence.release((connection_id, topic))
        self._pending.owe(lambda: self._put(tenant.project_id, topic, connection_id, None), of_the_gone=True)

    def restore(
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
            return self._put(project, topic, connection_id, now)

        self._pending.owe(put, told)

    def _put(self, project: str, topic: str, connection_id: str, entry: bytes | None) -> asyncio.Future[None]:
        if entry is None:
            self._remove_from_lives_before(project, topic, connection_id)
        change = Change(f"{self._node.life}/{connection_id}", entry)
        return self._changes.put(_PresenceChange((project, topic), change))

    def _remove_from_lives_before(self, project: str, topic: str, connection_id: str) -> None:
        """What was put there before this node knew that it had ended is looked for by nobody else."""
        for life in self._node.lives_before:
            change = Change(f"{life}/{connection_id}", None)
            self._changes.put(_PresenceChange((project, topic), change))

    async def _send_changes(self, items: list[_PresenceChange | _Vacancy]) -> None:
        self._index.begin(self._node.life)
        changes: dict[TopicKey, list[Change]] = defaultdict(list)
        for item in items:
            if isinstance(item, _PresenceChange) and not self._is_of_a_life_before(item.change):
                changes[item.place] += [] if item.change is None else [item.change]
        if changes:
            await self._change(changes)
        if vacant := self._index.forget(item.place for item in items if isinstance(item, _Vacancy)):
            await self._forget(vacant)

    def _is_of_a_life_before(self, change: Change | None) -> bool:
        """Whether it would put somebody under a life that is over; who is here is put back under this one."""
        return (
            change is not None
            and change.entry is not None
            and not change.field.startswith(f"{self._node.life}/")
        )

    async def _change(self, changes: dict[TopicKey, list[Change]]) -> None:
        """Tell those who may have to clean up after us where to look, before there is anything."""
        if new := self._index.to_note(changes):
            await self._people.note_topics(self._index.life, new)
            self._index.note(new)
        self._index.expect(changes)
        await self._people.change_presence(changes)
        now = time.monotonic()
        for place in self._index.carried_out(changes, now):
            if self._left_at.pop(place, None) is None:
                asyncio.get_running_loop().call_later(LINGER_SECONDS, self._vacate_if_due, place)
            self._left_at[place] = now
        while len(self._left_at) > MOST_LINGERING:
            oldest = next(iter(self._left_at))
            del self._left_at[oldest]
            self._vacate(oldest)

    def _vacate_if_due(self, place: TopicKey) -> None:
        """Vacate a place when the last one went long enough ago for a fail-over not to bring it back."""
        if (left_at := self._left_at.get(place)) is None:
            return
        if (wait := left_at + LINGER_SECONDS - time.monotonic()) > 0:
            asyncio.get_running_loop().call_later(wait, self._vacate_if_due, place)
        else:
            del self._left_at[place]
            self._vacate(place)

    def _vacate(self, place: TopicKey) -> None:
        """Forget a place in its turn, unless somebody is there again by then."""
        _then(self._changes.put(_Vacancy(place)), lambda: None, or_again=partial(self._vacate, place))

    async def _forget(self, places: list[TopicKey]) -> None:
        """Let survivors look there no more; if that fails, what went with it was carried out all the same."""
        try:
            await self._people.forget_topics(self._index.life, places)
        except Unavailable:
            for place in places:
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._vacate, place)

    def _keep_quiet_topics(self) -> None:
        """Let Redis not take for rubbish where people are but nothing happens."""
        for place in self._index.to_keep(time.monotonic()):
            self._changes.put(_PresenceChange(place, None))


def _then(told: asyncio.Future[None], do: Callable[[], None], or_again: Callable[[], None]) -> None:
    """Do something when it is told, or try again in a while. What failed as `internal` would fail again."""

    def look(told: asyncio.Future[None]) -> None:
        if told.cancelled() or (told.exception() is not None and not is_hopeless(told)):
            asyncio.get_running_loop().call_later(RETRY_SECONDS, or_again)
        else:
            do()

    told.add_done_callback(look)
