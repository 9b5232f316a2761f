"""One project's life in the notifier: connect, lead, publish, sleep, and all of it again after a fault.

Changes come from the feed and go to the broker. Each project is a task of its own: one whose database
is down waits for itself alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

from notifier import metrics
from notifier.database import connect
from notifier.doorbell import Doorbell, listening
from notifier.faults import FAULTS
from notifier.feed import Feed
from notifier.snapshots import Snapshot
from realtime import keys
from realtime.broker import Broker
from realtime.config import Project
from realtime.errors import Unavailable

logger = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 5.0
STANDBY_SECONDS = 1.0  # between two tries to become leader, or to find the schema installed
AWAKE_POLL_SECONDS = 0.01  # between two looks at the outbox while awake
BUSY_CHANGES = 50  # a batch of so many tells that more come,
BUSY_POLL_SECONDS = 0.04  # and then fewer, bigger batches leave the processors to the writers
LINGER_SECONDS = 0.05  # awake without a change before going to sleep
LAST_SETTLE_SECONDS = 1.0  # between two looks while an old transaction keeps us from sleeping
SILENT_POLL_SECONDS = 0.02  # where writers may not ring


class State(Enum):
    """Where a feed is in its life, in the words of `/readyz` and the logs."""

    CONNECTING = "connecting"
    STANDBY = "standby"  # another notifier reads the database
    NO_SCHEMA = "waiting for the schema"  # nothing was enabled yet
    LIVE = "live"
    NO_REDIS = "Redis is away"


@dataclass
class ProjectFeed:
    """The feed of one project."""

    project_id: str
    project: Project
    broker: Broker
    poll_seconds: float
    state: State = State.CONNECTING

    @property
    def leads(self) -> bool:
        """Whether this process is the one that reads the project's database."""
        return self.state in (State.NO_SCHEMA, State.LIVE, State.NO_REDIS)

    @property
    def ready(self) -> bool:
        """Whether it does all that it can do now: lead, or stand by for who does."""
        return self.state in (State.STANDBY, State.NO_SCHEMA, State.LIVE)

    async def run(self) -> None:
        """Live until cancelled."""
        delay = FIRST_RETRY_SECONDS
        while True:
            started = time.monotonic()
            try:
                await self._one_life()
            except* FAULTS as group:
                self._enter(State.CONNECTING)
                metrics.faults.labels(self.project_id).inc()
                logger.warning("project %s: %s", self.project_id, _reason(group))
            if time.monotonic() - started > LAST_RETRY_SECONDS:
                delay = FIRST_RETRY_SECONDS
            await asyncio.sleep(delay)
            delay = min(2 * delay, LAST_RETRY_SECONDS)

    async def _one_life(self) -> None:
        """Lead this project's feed until something fails."""
        async with self._session() as reader:
            await self._become_leader(reader)
            async with listening(await connect(self.project.direct_url)) as doorbell:
                reader.add_termination_listener(doorbell.startle)
                feed = Feed(reader)
                await feed.resume()
                await self._publish_batch(feed)
                await self._follow(feed, doorbell)

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Any]:
        connection = await connect(self.project.direct_url)
        try:
            yield connection
        finally:
            # Closing politely could wait for a host that is gone.
            connection.terminate()

    async def _become_leader(self, reader: Any) -> None:
        self._enter(State.STANDBY)
        while not await reader.fetchval("select pg_try_advisory_lock($1::bigint)", keys.LEADER_LOCK):
            await asyncio.sleep(STANDBY_SECONDS)
        while not await reader.fetchval("select to_regclass('realtime.feed') is not null"):
            self._enter(State.NO_SCHEMA)
            await asyncio.sleep(STANDBY_SECONDS / 4)

    async def _follow(self, feed: Feed, doorbell: Doorbell) -> None:
        if not await self._writers_may_ring(feed):
            doorbell.silence()
            while True:
                await self._drain(feed, doorbell, SILENT_POLL_SECONDS)
        while True:
            doorbell.silence()
            await self._drain(feed, doorbell, AWAKE_POLL_SECONDS)
            await doorbell.unsilence()
            if await self._settle(feed, doorbell):
                await self._sleep(feed, doorbell)

    async def _writers_may_ring(self, feed: Feed) -> bool:
        return self.project.doorbell == "auto" and not await feed.prepared_transactions_allowed()

    async def _drain(self, feed: Feed, doorbell: Doorbell, poll_seconds: float) -> None:
        """Publish until nothing has come for a while."""
        last_change = time.monotonic()
        while time.monotonic() - last_change < LINGER_SECONDS:
            doorbell.check()
            changes = await self._publish_next(feed, await feed.snapshot())
            if changes is not None:
                last_change = time.monotonic()
            await asyncio.sleep(BUSY_POLL_SECONDS if (changes or 0) >= BUSY_CHANGES else poll_seconds)
        await feed.confirm()

    async def _settle(self, feed: Feed, doorbell: Doorbell) -> bool:
        """Read on until no writer is left that found the bell silenced; False if a change came instead.

        Whoever tried the bell before it was given back has an older transaction id than the barrier. The test
        is made on the very snapshot of a read: between a read and a later test a commit would slip through.
        """
        barrier = await feed.barrier()
        delay = AWAKE_POLL_SECONDS
        while True:
            snapshot = await feed.snapshot()
            if await self._publish_next(feed, snapshot) is not None:
                return False
            if snapshot.xmin > barrier:
                return True
            await doorbell.wait(delay)
            delay = min(2 * delay, LAST_SETTLE_SECONDS)

    async def _sleep(self, feed: Feed, doorbell: Doorbell) -> None:
        """Wait for the bell; the slow poll is the net under it."""
        while not await doorbell.wait(self.poll_seconds):
            if await self._publish_next(feed, await feed.snapshot()) is not None:
                metrics.late_changes.labels(self.project_id).inc()
                return
        metrics.rings.labels(self.project_id).inc()

    async def _publish_next(self, feed: Feed, snapshot: Snapshot) -> int | None:
        """Publish what this snapshot sees beyond the last batch, and count it; None if there is no batch."""
        if not await feed.advance(snapshot):
            return None
        return await self._publish_batch(feed)

    async def _publish_batch(self, feed: Feed) -> int:
        """Hand the current batch to Redis, again and again until it has all; count what was new."""
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                return await self._try_to_publish(feed)
            except Unavailable as error:
                self._enter(State.NO_REDIS)
                logger.warning("project %s: %s (%r)", self.project_id, error, error.__cause__)
            await asyncio.sleep(delay)
            delay = min(2 * delay, LAST_RETRY_SECONDS)

    async def _try_to_publish(self, feed: Feed) -> int:
        started, changes = time.monotonic(), 0
        async with aclosing(feed.chunks()) as pieces:
            async for chunks in pieces:
                changes += await self.broker.publish_changes(self.project_id, feed.number, chunks)
        self._enter(State.LIVE)
        metrics.changes.labels(self.project_id).inc(changes)
        metrics.batch_changes.observe(changes)
        metrics.batch_seconds.observe(time.monotonic() - started)
        return changes

    def _enter(self, state: State) -> None:
        if state is not self.state:
            logger.info("project %s: %s", self.project_id, state.value)
        self.state = state
        metrics.live.labels(self.project_id).set(state is State.LIVE)


def _reason(group: BaseExceptionGroup[BaseException]) -> str:
    """Name the faults without what a driver may quote of the connection's URL."""
    return "; ".join(f"{type(error).__name__}: {error}" for error in group.exceptions)
