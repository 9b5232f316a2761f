"""Writes to Redis which of this node's clients are present, and where.

Connections set, end and restore presence here. Ends and restores that cannot be sent while Redis is not
available are sent later, in order. Other nodes end the presence of a node that died or gave its incarnation
up.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from gateway.presence.change import Change, field_of
from gateway.presence.index import PresenceIndex
from gateway.presence.node import Node
from gateway.presence.pending import Acknowledged, Pending, may_succeed_later, nothing
from gateway.presence.presence_store import PresenceStore
from gateway.presence.timings import DEFAULTS, PresenceTimings
from gateway.projects.project import Tenant
from gateway.publish.batcher import Batcher
from gateway.session.presence import Presence
from realtime.channels import TopicKey
from realtime.errors import Unavailable


@dataclass(frozen=True, slots=True)
class _PresenceChange:
    topic_key: TopicKey
    change: Change | None  # None only keeps the topic's entries from expiring


@dataclass(frozen=True, slots=True)
class _Vacancy:
    """A topic under which this node has no client left, so that other nodes need not look there."""

    topic_key: TopicKey


class PresenceWriter:
    """The presence of this node's clients, as Redis has it."""

    def __init__(
        self,
        store: PresenceStore,
        node: Node,
        pending: Pending,
        hears: Callable[[TopicKey], bool],
        timings: PresenceTimings = DEFAULTS,
    ) -> None:
        self._store = store
        self._node = node
        self._pending = pending
        self._timings = timings
        self._hears = hears  # whether messages of a topic would be delivered now
        self.is_full = False  # presences take as many bytes as this node has room for
        self._index = PresenceIndex(timings.keep_seconds)  # changed in the order in which presence is sent
        self._left_at: dict[
            TopicKey, float
        ] = {}  # when the last client left, monotonic, oldest first; to be vacated
        self._is_sweeping = False  # a timer is set for the oldest of these topics
        self._changes: Batcher[_PresenceChange | _Vacancy] = Batcher(
            lambda items: partial(self._send_changes, items), repeatable=True
        )
        node.on_renewed = self._keep_quiet_topics

    def __repr__(self) -> str:
        return f"<PresenceWriter {self._index!r}>"

    async def run(self) -> None:
        await self._changes.run()

    async def settle(self) -> None:
        """Wait until all changes that were put have been sent, or refused."""
        await self._changes.settle()

    def set(self, tenant: Tenant, presence: Presence) -> asyncio.Future[None]:
        """Write a presence as it is now, also that it has ended; the future is done when Redis has it.

        Raises Unavailable at once while Redis is not available, or while the node has no room for more
        presence (`is_full`), and ClientError `rate_limited` if the project has as much presence as it may. If
        the future fails, Redis may have the change or not: then call `restore`. The quota counts the earlier
        entry until then.
        """
        if not self._hears(presence.topic_key):
            raise Unavailable("Redis cannot be reached now")
        entry = presence.entry()
        if entry is None:
            ended = self._put(presence, None)

            def release_if_ended(ended: asyncio.Future[None]) -> None:
                if not ended.cancelled() and ended.exception() is None:
                    tenant.presence.release(presence)

            ended.add_done_callback(release_if_ended)
            return ended
        if self.is_full:
            raise Unavailable("clients of this node are present with as much as it has room for")
        size = len(entry)
        before = tenant.presence.take(presence, size, tenant.limits.max_presence_bytes)
        acknowledged = self._put(presence, entry)

        def undo_if_failed(acknowledged: asyncio.Future[None]) -> None:
            if acknowledged.cancelled() or acknowledged.exception() is not None:
                tenant.presence.undo(presence, size, before)

        acknowledged.add_done_callback(undo_if_failed)
        return acknowledged

    def end(self, tenant: Tenant, presence: Presence) -> None:
        """End the presence of a connection that is gone, as soon as Redis is available."""
        tenant.presence.release(presence)
        self._pending.add(lambda: self._put(presence, None), of_the_gone=True)

    def restore(
        self, presence: Presence, entry: Callable[[], bytes | None], acknowledged: Acknowledged = nothing
    ) -> None:
        """Write what `entry` returns at each try, under this incarnation only; then call `acknowledged`.

        The client may have left since and be present again, by another record: so `entry` is asked, and not
        the record. A change that fails is undone, perhaps after this write was sent with that change: then
        the entry is written once more.
        """
        sent: bytes | None = None
        is_sent = False  # still so if the write is dropped before its first try

        def put() -> asyncio.Future[None]:
            nonlocal sent, is_sent
            sent, is_sent = entry(), True
            if sent is not None:
                self._remove_from_earlier(presence)
            return self._put(presence, sent)

        def confirm() -> None:
            if is_sent and sent != entry():
                self.restore(presence, entry, acknowledged)
            else:
                acknowledged()

        self._pending.add(put, confirm)

    def _put(self, presence: Presence, entry: bytes | None) -> asyncio.Future[None]:
        if entry is None:
            self._remove_from_earlier(presence)
        return self._put_under(self._node.incarnation, presence, entry)

    def _remove_from_earlier(self, presence: Presence) -> None:
        """Remove what this node wrote before it knew that its incarnation was over: no other node does."""
        for incarnation in self._node.earlier:
            self._put_under(incarnation, presence, None)

    def _put_under(self, incarnation: str, presence: Presence, entry: bytes | None) -> asyncio.Future[None]:
        change = Change(field_of(incarnation, presence.connection_id), entry)
        return self._changes.put(_PresenceChange(presence.topic_key, change))

    async def _send_changes(self, items: list[_PresenceChange | _Vacancy]) -> None:
        self._index.begin(self._node.incarnation)
        changes: dict[TopicKey, list[Change]] = defaultdict(list)
        for item in items:
            if isinstance(item, _PresenceChange) and not self._is_of_an_earlier_incarnation(item.change):
                changes[item.topic_key] += [] if item.change is None else [item.change]
        if changes:
            await self._change(changes)
        if vacant := self._index.forget(item.topic_key for item in items if isinstance(item, _Vacancy)):
            await self._forget(vacant)

    def _is_of_an_earlier_incarnation(self, change: Change | None) -> bool:
        """Whether a change sets an entry of an earlier incarnation; `restore` sets it under this one."""
        return change is not None and change.entry is not None and not change.is_under(self._node.incarnation)

    async def _change(self, changes: dict[TopicKey, list[Change]]) -> None:
        """Note new topics for the nodes that may clean up after this one, then write the changes."""
        if new := self._index.to_note(changes):
            await self._store.note_topics(self._index.incarnation, new)
            self._index.note(new)
        self._index.expect(changes)
        await self._store.change(changes)
        now = time.monotonic()
        for topic_key in self._index.carried_out(changes, now):
            self._left_at.pop(topic_key, None)
            self._left_at[topic_key] = now
        while len(self._left_at) > self._timings.most_lingering:
            oldest = next(iter(self._left_at))
            del self._left_at[oldest]
            self._vacate(oldest)
        if not self._is_sweeping:
            self._sweep()

    def _sweep(self) -> None:
        """Vacate topics whose last client left so long ago that no fail-over brings the client back.

        One timer serves all topics: clients decide how many topics become empty.
        """
        self._is_sweeping = False
        now = time.monotonic()
        while self._left_at:
            topic_key, left_at = next(iter(self._left_at.items()))
            if (wait := left_at + self._timings.linger_seconds - now) > 0:
                self._is_sweeping = True
                asyncio.get_running_loop().call_later(wait, self._sweep)
                return
            del self._left_at[topic_key]
            self._vacate(topic_key)

    def _vacate(self, topic_key: TopicKey) -> None:
        """Queue that a topic is forgotten, unless somebody is present there again by then."""

        def retry_if_failed(vacated: asyncio.Future[None]) -> None:
            if may_succeed_later(vacated):
                asyncio.get_running_loop().call_later(self._timings.retry_seconds, self._vacate, topic_key)

        self._changes.put(_Vacancy(topic_key)).add_done_callback(retry_if_failed)

    async def _forget(self, topic_keys: list[TopicKey]) -> None:
        """Remove the notes of topics; a failure is retried, and does not fail changes of the same batch."""
        try:
            await self._store.forget_topics(self._index.incarnation, topic_keys)
        except Unavailable:
            for topic_key in topic_keys:
                asyncio.get_running_loop().call_later(self._timings.retry_seconds, self._vacate, topic_key)

    def _keep_quiet_topics(self) -> None:
        """Keep the entries of quiet topics from expiring."""
        for topic_key in self._index.to_keep(time.monotonic()):
            self._changes.put(_PresenceChange(topic_key, None))
