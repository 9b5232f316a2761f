"""Publishes the feed's batches to Redis, each exactly once, and checks that Redis and the database agree.

Either may go back in time: a Redis replica that lagged is promoted, a dump of the database is restored.
Each topic keeps the checkpoint of its last change. If that differs from the feed's checkpoint, changes were
lost: the topic begins a new epoch, and its subscribers receive `resync`. Never decides when to read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

from notifier import metrics
from notifier.feed.feed import Feed
from notifier.feed.feed_settings import FeedSettings
from notifier.feed.publication_store import Diverged, PublicationStore
from notifier.feed.timings import DEFAULTS, FeedTimings
from realtime.causes.sentence import why
from realtime.errors import Unavailable
from realtime.logs.setup import get_logger
from realtime.waiting.backoff import Backoff
from realtime.waiting.outage import Outage

log = get_logger(__name__)

MOST_LISTED = 50  # topics that one log line names

ResultT = TypeVar("ResultT")


class Publisher:
    """Publishes one project's feed; `on_redis` gets the reason why Redis is unavailable, or None."""

    def __init__(
        self,
        settings: FeedSettings,
        feed: Feed,
        publications: PublicationStore,
        on_redis: Callable[[str | None], None],
        timings: FeedTimings = DEFAULTS,
    ) -> None:
        self.feed = feed
        self._project_id = settings.project_id
        self._project = settings.project
        self._history = settings.history
        self._publications = publications
        self._on_redis = on_redis
        self._timings = timings
        self._changes = metrics.changes.labels(settings.project_id)
        self.published = 0  # changes, by this publisher
        # Of a lone change that was sent: Redis' answer, which nobody needs before the next batch.
        self.sent: asyncio.Future[Any] | None = None
        self._sent_at = self._answered_at = 0.0  # monotonic
        self.on_failure: Callable[[], object] = lambda: None  # called when it is time to call `settle`
        self.storing_seconds = 0.0  # that the database took to store the last batch
        self._outage = Outage()  # which reasons were logged of late
        self._noted: set[str] = set()  # topics that Redis lists as this project's own
        self._checked_at = 0.0  # monotonic, when the checkpoints were last seen to agree
        self._shed_at = 0.0  # monotonic, when the outbox was last brought within its bound

    async def begin(self) -> None:
        """Resume the feed, and publish again its last stored batch, which may be published only in part."""
        if not await self.feed.resume():
            log.warning("database_replaced", project=self._project_id)
        await self._patiently(lambda: self._check(published=False))
        await self.publish_batch()

    async def publish_next(self, may_leave: bool = False) -> int | None:
        """Publish what is new up to now; count the changes, None for no batch.

        With `may_leave` it may return before Redis has taken a lone change: see `sent`.
        """
        await self.settle()
        started = time.monotonic()
        if not await self.feed.take():
            return None
        self.storing_seconds = time.monotonic() - started
        await self._shed_if_due()
        if may_leave and self._send_lone():
            return 1
        return await self.publish_batch()

    def _send_lone(self) -> bool:
        """Send the batch to Redis, without waiting, if it is one change; tell whether it was sent."""
        chunk = self.feed.lone_chunk()
        if chunk is None or chunk.topic not in self._noted:
            return False
        self._sent_at = time.monotonic()
        self.sent = self._publications.begin(self._project_id, self.feed.token, chunk, self._history)
        if self.sent is None:
            return False
        self.sent.add_done_callback(self._note_answer)
        return True

    def _note_answer(self, sent: asyncio.Future[Any]) -> None:
        self._answered_at = time.monotonic()
        if not _was_taken(sent):
            self.on_failure()

    async def settle(self) -> None:
        """Wait until Redis has the change that was sent without waiting; publish its batch again if not.

        Until then nothing else may be done with the feed. Redis skips what it has of a batch.
        """
        sent, self.sent = self.sent, None
        if sent is None:
            return
        if not sent.done():
            await asyncio.wait([sent])
        if _was_taken(sent):
            self._on_redis(None)
            self._count(sent.result(), self._answered_at - self._sent_at)
        else:  # for whatever reason: here each of them is handled
            await self.publish_batch()

    async def publish_batch(self) -> int:
        """Publish the current batch, and retry until Redis has all of it; count the changes that were new."""
        return await self._patiently(self._try_to_publish)

    async def check_if_due(self) -> None:
        """Check every `check_seconds` that Redis agrees with the feed. Call this only between two batches."""
        if time.monotonic() - self._checked_at >= self._timings.check_seconds:
            await self.confirm()
            await self._patiently(lambda: self._check(published=True))

    async def confirm(self) -> None:
        """Note in the database that the current batch has been published whole."""
        await self.settle()
        await self.feed.confirm()

    async def _patiently(self, action: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Run the action, and retry it until Redis is available."""
        backoff = Backoff(self._timings.first_retry_seconds, self._timings.last_retry_seconds)
        while True:
            try:
                result = await action()
            except Unavailable as error:
                self._on_redis(why(error))
                metrics.redis_failures.labels(self._project_id).inc()
                self._checked_at = 0.0
                if self._outage.is_news(why(error), time.monotonic()):
                    log.warning("redis_unavailable", project=self._project_id, error=why(error))
            else:
                self._on_redis(None)
                return result
            await asyncio.sleep(backoff.next())
            await self._shed_if_due()

    async def _try_to_publish(self) -> int:
        while True:
            try:
                return await self._send_batch()
            except Diverged as error:
                found = error.checkpoints
            # Topics that have taken a part of the batch take the rest when the batch is sent again.
            await self._begin_anew(self.feed.diverged(found, published=False))

    async def _send_batch(self) -> int:
        started, changes = time.monotonic(), 0
        async with aclosing(self.feed.chunks()) as pieces:
            async for chunks in pieces:
                await self._note([chunk.topic for chunk in chunks])
                changes += await self._publications.publish(
                    self._project_id, self.feed.token, chunks, self._history
                )
        self._report_left_out(self.feed.left_out)
        self._count(changes, time.monotonic() - started)
        return changes

    def _count(self, changes: int, seconds: float) -> None:
        """Count the changes of a batch that has been published."""
        self._changes.inc(changes)
        self.published += changes
        metrics.batch_changes.observe(changes)
        metrics.batch_seconds.observe(seconds)

    def _report_left_out(self, changes: int) -> None:
        if changes:
            log.warning("changes_left_out", project=self._project_id, changes_count=changes)
            metrics.left_out_changes.labels(self._project_id).inc(changes)

    async def _note(self, topics: list[str]) -> None:
        new = [topic for topic in topics if topic not in self._noted]
        if new:
            await self._publications.note_tables(self._project_id, new)
            self._noted.update(new)

    async def _check(self, published: bool) -> None:
        """Find the topics whose checkpoint differs from the feed's, and begin a new epoch of each."""
        if not published:
            self._noted = await self._publications.noted_tables(self._project_id)
        topics = sorted({*self._noted, *self.feed.checkpoints, *self.feed.moved})
        found = await self._publications.checkpoints(self._project_id, topics) if topics else {}
        await self._begin_anew(self.feed.diverged(found, published))
        self._checked_at = time.monotonic()

    async def _begin_anew(self, diverged: dict[str, tuple[str, str]]) -> None:
        # To a notifier that no longer leads, topics of the next leader seem diverged: it must not reset them.
        await self.feed.check_ownership()
        if not diverged:
            return
        log.warning(
            "topics_reset",
            project=self._project_id,
            topics=sorted(diverged)[:MOST_LISTED],
            topics_count=len(diverged),
        )
        self._noted.clear()
        await self._note(list(diverged))
        await self._publications.reset(self._project_id, diverged)
        metrics.resets.labels(self._project_id).inc(len(diverged))

    async def _shed_if_due(self) -> None:
        """Keep the outbox within its bound, even while Redis takes no changes."""
        max_rows, max_bytes = self._project.outbox_max_rows, self._project.outbox_max_bytes
        is_due = time.monotonic() - self._shed_at >= self._timings.shed_seconds
        if (not max_rows and not max_bytes) or not is_due:
            return
        shed = await self.feed.shed(max_rows, max_bytes)
        self._shed_at = time.monotonic()
        if shed:
            log.warning("outbox_shed", project=self._project_id, changes_count=shed)
            metrics.shed_changes.labels(self._project_id).inc(shed)


def _was_taken(sent: asyncio.Future[Any]) -> bool:
    """Tell whether Redis has taken the changes that were sent, now or before."""
    return not sent.cancelled() and sent.exception() is None and isinstance(sent.result(), int)
