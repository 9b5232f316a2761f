"""Follows one database's changes: looks when a writer rings, or by itself while the doorbell is silenced.

`notifier.feed.pace` decides which of the two. Nothing is missed where they change: a writer that found the
bell silenced has an older transaction id than the barrier, which is taken after the bell was given back, and
the feed looks by itself until no such transaction is left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from notifier import metrics
from notifier.feed.doorbell import Doorbell
from notifier.feed.feed_settings import FeedSettings
from notifier.feed.pace import Look, Pace
from notifier.feed.publisher import Publisher
from notifier.feed.timings import DEFAULTS, FeedTimings
from realtime.logs.setup import get_logger
from realtime.waiting.backoff import Backoff

log = get_logger(__name__)

LINGER_SECONDS = 0.05  # without a change, before the last batch is noted as published
FIRST_SETTLE_SECONDS = 0.01
LAST_SETTLE_SECONDS = 1.0  # between two looks while an old transaction may not ring
SILENT_POLL_SECONDS = 0.02  # between two looks where writers may not, or cannot, ring


class Follower:
    """Publishes one feed's changes as they come; calls `between_batches` between two batches."""

    def __init__(
        self,
        settings: FeedSettings,
        publisher: Publisher,
        doorbell: Doorbell,
        between_batches: Callable[[], Awaitable[None]],
        timings: FeedTimings = DEFAULTS,
    ) -> None:
        self._settings = settings
        self._publisher = publisher
        self._feed = publisher.feed
        self._doorbell = doorbell
        self._between_batches = between_batches
        self._timings = timings
        publisher.on_failure = doorbell.startle
        self._rings = metrics.rings.labels(settings.project_id)
        self.pace = Pace(timings.pace)
        self._rings_seen = 0  # rings before the last look
        self._changed_at = time.monotonic()  # when a change last came
        self._is_confirmed = False  # the last batch was noted as published
        self._barrier: int | None = None  # older transactions may not ring; None: there are none
        self._settling = Backoff(FIRST_SETTLE_SECONDS, LAST_SETTLE_SECONDS)
        self._could_be_rung = True  # at the last check, whether the queue had room for a ring
        self._checked_at = 0.0  # monotonic, of that check

    async def follow(self) -> NoReturn:
        """Follow the feed until something raises."""
        if not await self._writers_may_ring():
            await self._look_while_silent(SILENT_POLL_SECONDS, until_rung=False)
        while True:
            await self._look_while_silent()
            await self._look_when_rung()

    async def _writers_may_ring(self) -> bool:
        return (
            self._settings.project.doorbell == "auto" and not await self._feed.prepared_transactions_allowed()
        )

    async def _look_while_silent(self, least_pause: float = 0.0, until_rung: bool = True) -> None:
        """Keep writers from ringing, and look again and again until the pace says that they may ring."""
        self._doorbell.silence()
        while True:
            self._doorbell.check()
            await self._look()
            if until_rung and not self.pace.is_silent:
                return
            await asyncio.sleep(max(least_pause, self.pace.pause))

    async def _look_when_rung(self) -> None:
        """Let writers ring, and look when one has, until the pace says that they need not ring."""
        await self._doorbell.unsilence()
        await self._expect_the_silent()
        is_expected = True
        while True:
            found = await self._look()
            if found and not is_expected and not self._doorbell.is_rung:
                metrics.late_changes.labels(self._settings.project_id).inc()
            if self.pace.is_silent or self._doorbell.is_silent:
                return
            is_expected = await self._wait()

    async def _expect_the_silent(self) -> None:
        """Look without a ring until no transaction is left that may have found that it need not ring."""
        self._barrier = await self._feed.barrier()
        self._settling.reset()

    async def _look(self) -> bool:
        """Publish what is new; tell whether anything was."""
        started, rings = time.monotonic(), self._doorbell.rings
        with self._silence_if_long():
            # While writers ring, Redis' answer to a lone change wakes nobody.
            changes = await self._publisher.publish_next(may_leave=not self._doorbell.is_silent)
            now = time.monotonic()
            if changes is not None:
                self._changed_at, self._is_confirmed = now, False
            # The same snapshot as the look: a commit between the look and a later snapshot would be missed.
            if self._barrier is not None and self._feed.seen.xmin > self._barrier:
                self._barrier = None
            storing = self._publisher.storing_seconds
            self.pace.note(now, Look(rings - self._rings_seen, changes or 0, now - started, storing))
            self._rings_seen = rings
            await self._tend(now)
        return changes is not None

    @contextmanager
    def _silence_if_long(self) -> Iterator[None]:
        """Keep writers from ringing if the block takes `long_look_seconds`, as when Redis is away."""
        wait = self._timings.long_look_seconds
        timer = asyncio.get_running_loop().call_later(wait, self._doorbell.silence)
        try:
            yield
        finally:
            timer.cancel()

    async def _tend(self, now: float) -> None:
        """Do what is due between two batches."""
        if not self._is_confirmed and now - self._changed_at >= LINGER_SECONDS:
            await self._publisher.confirm()
            self._is_confirmed = True
        await self._between_batches()

    async def _wait(self) -> bool:
        """Wait until it is time to look; tell whether this was a ring, or changes may come without one."""
        await self._check_queue()
        is_settled = self._barrier is None
        pause = self._settings.poll_seconds if is_settled else self._settling.next()
        look_at = time.monotonic() + min(pause, self._settings.poll_seconds)
        while True:
            now = time.monotonic()
            if await self._doorbell.wait(self._least_pause(now, look_at)):
                self._rings.inc()
                return True
            now = time.monotonic()
            if now >= look_at or not self._could_be_rung:
                return not (is_settled and self._could_be_rung)
            with self._silence_if_long():
                await self._tend(now)
            if self._doorbell.is_silent:
                return True
            await self._check_queue()

    def _least_pause(self, now: float, look_at: float) -> float:
        """Return how long to wait for a ring before something else is due."""
        pauses = [look_at - now, self._checked_at + self._timings.check_seconds - now]
        if not self._is_confirmed:
            pauses.append(self._changed_at + LINGER_SECONDS - now)
        if not self._could_be_rung:
            pauses.append(SILENT_POLL_SECONDS)
        return max(0.0, min(pauses))

    async def _check_queue(self) -> None:
        """Check now and then whether the queue of notifications has room: without room, no writer rings."""
        now = time.monotonic()
        if self._could_be_rung and now - self._checked_at < self._timings.check_seconds:
            return
        before, self._could_be_rung = self._could_be_rung, await self._doorbell.can_be_rung()
        self._checked_at = now
        if self._could_be_rung and not before:
            await self._expect_the_silent()
        elif before and not self._could_be_rung:
            metrics.full_queues.labels(self._settings.project_id).inc()
            log.warning("notification_queue_full", project=self._settings.project_id)
