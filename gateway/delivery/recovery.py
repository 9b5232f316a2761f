"""Finds the messages that reconnecting clients missed: a page of history is read once for all of them.

Subscriptions and replays call it; it reads through the broker and keeps pages in the topic's replay cache,
which the hub extends. When a node dies, ten thousand clients reconnect within seconds: for the first client
the page is read, the others wait and then look into the cache again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import assert_never

from gateway import metrics
from gateway.broker import Broker
from gateway.delivery.stages import Stages
from gateway.delivery.timings import DEFAULTS, DeliveryTimings
from gateway.hub.replay_cache import Coverage, ReplayBudget, ReplayCache
from gateway.hub.topic import Topic
from gateway.projects.project import Tenant
from gateway.wire.send_queue import SendQueue
from realtime.channels import Channel, TopicKey
from realtime.errors import ClientError, Unavailable
from realtime.publications import Position, Publication
from realtime.waiting.survival import Part

CATCH_UP_POLL_SECONDS = 0.005

# Concurrent calls to Redis for all topics, each on its own connection; further clients wait for their turn.
CALLS_AT_ONCE = 16

_part = Part("recovery")


@dataclass(slots=True, eq=False)
class Reading:
    """A read of history in progress for one replay cache."""

    over: asyncio.Event = field(default_factory=asyncio.Event)
    error: Unavailable | None = None  # is raised for waiting clients as well


class Recovery:
    """Finds missed messages for all clients of a node."""

    def __init__(
        self, broker: Broker, budget: ReplayBudget, stages: Stages, timings: DeliveryTimings = DEFAULTS
    ) -> None:
        self._broker = broker
        self._budget = budget
        self._stages = stages
        self._timings = timings
        self._readings: dict[ReplayCache, Reading] = {}  # in progress
        self._turn = asyncio.Semaphore(CALLS_AT_ONCE)

    def __repr__(self) -> str:
        return f"<Recovery {self._budget.used} bytes, {len(self._readings)} readings>"

    async def begin(self, tenant: Tenant, channel: Channel, topic: Topic[SendQueue], since: Position) -> bool:
        """Tell whether history reaches back to a client's position; if so, the next messages are cached.

        As `find`, but for a client that was promised nothing yet: it gets no more than history keeps.
        """
        await self._wait_for((tenant.project_id, channel.topic), topic, since)
        if not await self.find(tenant, channel, topic, since):
            return False
        cache = topic.replay_cache
        return since == topic.position or (cache is not None and cache.is_kept(since.offset))

    async def find(self, tenant: Tenant, channel: Channel, topic: Topic[SendQueue], since: Position) -> bool:
        """Bring the messages after a position into the topic's replay cache; False if history lost them.

        On return either the cache has the next messages and no stage waits for them, or the position is that
        of the topic. The caller must not await before it relies on that. The topic must have been live, and
        must stay open. Raises Unavailable.
        """
        try:
            return await self._find(tenant, channel, topic, since)
        except ClientError:
            raise
        except Exception as error:  # history that cannot be decoded counts as lost
            _part.note(error, channel.topic)
            topic.forget()
            return False

    async def _find(self, tenant: Tenant, channel: Channel, topic: Topic[SendQueue], since: Position) -> bool:
        key = (tenant.project_id, channel.topic)
        while True:
            if since.epoch != topic.position.epoch or since.offset > topic.position.offset:
                return False
            if since.offset == topic.position.offset:
                return True
            cache = topic.replay_cache or self._begin(tenant, channel, topic)
            match coverage := cache.coverage(since.offset):
                case Coverage.COVERED:
                    if not await self._stages.prepare(key, cache.to_choose_from(since.offset)):
                        return True
                case Coverage.LOST:
                    return False
                case Coverage.UNREAD:
                    await self._look_back(key, cache, since)
                case _:
                    assert_never(coverage)

    async def _wait_for(self, key: TopicKey, topic: Topic[SendQueue], since: Position) -> None:
        """Wait until this node has what another node sent to the client, if Redis has it."""
        if not _is_ahead(since, topic.position):
            return
        async with self._turn:
            if not _is_ahead(since, topic.position):
                return  # most of many simultaneous clients need not ask Redis
            position = await self._broker.position(*key)
        if position.epoch != since.epoch or position.offset < since.offset:
            return
        while _is_ahead(since, topic.position):
            await asyncio.sleep(CATCH_UP_POLL_SECONDS)

    def _begin(self, tenant: Tenant, channel: Channel, topic: Topic[SendQueue]) -> ReplayCache:
        history = tenant.history_of(channel)
        cache = topic.replay_cache = ReplayCache(topic.position, history.max_entries, self._budget)
        self._look_later(topic, cache, self._timings.looks)
        return cache

    def _look_later(self, topic: Topic[SendQueue], cache: ReplayCache, looks: int) -> None:
        seconds = self._timings.unused_seconds
        asyncio.get_running_loop().call_later(seconds, self._look, topic, cache, looks - 1)

    def _look(self, topic: Topic[SendQueue], cache: ReplayCache, looks: int) -> None:
        if topic.replay_cache is not cache:
            return
        if looks and (cache.is_used or cache in self._readings):
            cache.is_used = False
            self._look_later(topic, cache, looks)
        else:
            topic.forget()

    async def _look_back(self, key: TopicKey, cache: ReplayCache, since: Position) -> None:
        """Read history, or wait for a read in progress; then the caller must check the cache again."""
        cache.want(since.offset)
        try:
            reading = self._readings.get(cache)
            if reading is None:
                await self._read(key, cache)
                return
            await reading.over.wait()
        finally:
            cache.want_no_more(since.offset)
        if reading.error is not None:
            raise Unavailable(reading.error.message, reading.error.reason) from reading.error

    async def _read(self, key: TopicKey, cache: ReplayCache) -> None:
        """Read the page that the cache chooses. If this is cancelled, the next waiting client reads it."""
        reading = self._readings[cache] = Reading()
        try:
            async with self._turn:
                since, until = cache.next_to_read()
                cache.look_back(since, await self._page(key, since, until))
        except Unavailable as error:
            reading.error = error
            raise
        finally:
            del self._readings[cache]
            reading.over.set()

    async def _page(self, key: TopicKey, since: Position, until: int) -> list[Publication] | None:
        metrics.history_reads.inc()
        try:
            return await self._broker.page(*key, since=since, until=until)
        except Unavailable:
            metrics.redis_failures.inc()
            raise


def _is_ahead(since: Position, position: Position) -> bool:
    return since.epoch == position.epoch and since.offset > position.offset
