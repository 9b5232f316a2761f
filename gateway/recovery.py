"""How clients that come back get what they missed: history is read once for all of a topic's.

Asked by subscriptions; reads through the broker and keeps what it read in the topic, where the hub extends
it. When a node died, ten thousand come within seconds: the first reads, the others wait and look again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from gateway import metrics
from gateway.hub import Topic, TopicKey
from gateway.recollection import Reach, Recollection, Room, joins_up, pieces_of
from gateway.socket import Socket
from gateway.tenants import Tenant
from realtime.broker import Broker
from realtime.channels import Channel
from realtime.errors import Unavailable
from realtime.publications import Position, Publication

UNUSED_SECONDS = 5.0  # between two looks at a recollection; one that nobody used in between is forgotten
LOOKS = 12  # after which it is forgotten in any case: history forgets by age, too
CATCH_UP_POLL_SECONDS = 0.005

# Calls of Redis under way for all topics, each on a connection of its own; beyond it clients wait their turn.
CALLS_AT_ONCE = 16


@dataclass(slots=True, eq=False)
class Reading:
    """History is being read for a recollection."""

    over: asyncio.Event = field(default_factory=asyncio.Event)
    error: Unavailable | None = None  # that those who wait get as well


class Recovery:
    """All that a node's clients have missed."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._room = Room()
        self._readings: dict[Recollection, Reading] = {}  # under way
        self._turn = asyncio.Semaphore(CALLS_AT_ONCE)

    def __repr__(self) -> str:
        return f"<Recovery {self._room.used} bytes, {len(self._readings)} readings>"

    async def missed(
        self, tenant: Tenant, channel: Channel, topic: Topic[Socket], since: Position, reader: str
    ) -> list[bytes] | None:
        """Return what connection `reader` missed after `since` until now; None if history does not reach.

        "Now" is the moment of the return: there must be no await before the reader joins the hub. The topic
        must have been live and must not be closed meanwhile. Raises Unavailable.
        """
        key = (tenant.project_id, channel.topic)
        await self._wait_for(key, topic, since)
        while True:
            if since.epoch != topic.position.epoch or since.offset > topic.position.offset:
                return None
            if since.offset == topic.position.offset:
                return []
            memory = topic.memory or self._begin(tenant, channel, topic)
            match memory.reach(since.offset):
                case Reach.COVERED:
                    return memory.pieces(channel, since.offset, reader)
                case Reach.LOST:
                    return None
                case Reach.BEYOND:
                    return await self._read_alone(key, channel, topic, since, reader)
                case Reach.UNREAD:
                    await self._look_back(key, memory, since)

    async def _wait_for(self, key: TopicKey, topic: Topic[Socket], since: Position) -> None:
        """Wait until this node has seen what another one showed the client before, if Redis has it."""
        if not _is_ahead(since, topic.position):
            return
        async with self._turn:
            if not _is_ahead(since, topic.position):
                return  # most of those who come at once need not ask
            position = await self._broker.position(*key)
        if position.epoch != since.epoch or position.offset < since.offset:
            return
        while _is_ahead(since, topic.position):
            await asyncio.sleep(CATCH_UP_POLL_SECONDS)

    def _begin(self, tenant: Tenant, channel: Channel, topic: Topic[Socket]) -> Recollection:
        history = tenant.history_of(channel)
        memory = topic.memory = Recollection(topic.position, history.max_entries, self._room)
        self._look_later(topic, memory, LOOKS)
        return memory

    def _look_later(self, topic: Topic[Socket], memory: Recollection, looks: int) -> None:
        asyncio.get_running_loop().call_later(UNUSED_SECONDS, self._look, topic, memory, looks - 1)

    def _look(self, topic: Topic[Socket], memory: Recollection, looks: int) -> None:
        if topic.memory is not memory:
            return
        if looks and (memory.is_used or memory in self._readings):
            memory.is_used = False
            self._look_later(topic, memory, looks)
        else:
            topic.forget()

    async def _look_back(self, key: TopicKey, memory: Recollection, since: Position) -> None:
        """Read history, or wait for who does; either way the caller has to look again."""
        memory.want(since.offset)
        try:
            reading = self._readings.get(memory)
            if reading is None:
                await self._read(key, memory)
                return
            await reading.over.wait()
        finally:
            memory.want_no_more(since.offset)
        if reading.error is not None:
            raise Unavailable(str(reading.error)) from reading.error

    async def _read(self, key: TopicKey, memory: Recollection) -> None:
        """Read what is wanted most. Who is cancelled here leaves it to the next of those who wait."""
        reading = self._readings[memory] = Reading()
        try:
            async with self._turn:
                since, until = memory.next_to_read(), memory.start
                memory.look_back(since, await self._history(key, since, until))
        except Unavailable as error:
            reading.error = error
            raise
        finally:
            del self._readings[memory]
            reading.over.set()

    async def _read_alone(
        self, key: TopicKey, channel: Channel, topic: Topic[Socket], since: Position, reader: str
    ) -> list[bytes] | None:
        """Read for one client what is too much to be remembered."""
        async with self._turn:
            with topic.tapped() as tap:
                until = topic.position
                missed = await self._history(key, since, until)
        # Without an await from here on: what the topic hands on next goes to the reader itself.
        if missed is None or not joins_up(until, tap, topic.position):
            return None
        return pieces_of(channel, _up_to(until, missed) + tap, reader)

    async def _history(self, key: TopicKey, since: Position, until: Position) -> list[Publication] | None:
        metrics.history_reads.inc()
        try:
            return await self._broker.missed(*key, since=since, until=until)
        except Unavailable:
            metrics.redis_failures.inc()
            raise


def _is_ahead(since: Position, position: Position) -> bool:
    return since.epoch == position.epoch and since.offset > position.offset


def _up_to(end: Position, publications: list[Publication]) -> list[Publication]:
    """The part of them up to `end`: history may have brought more, which the topic hands on itself."""
    return [
        Publication(each.epoch, each.first, each.lines[: end.offset + 1 - each.first])
        for each in publications
        if each.first <= end.offset
    ]
