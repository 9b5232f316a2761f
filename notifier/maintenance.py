"""The maintenance of a project: it sets gauges, keeps the outbox small, adds triggers to new partitions.

Maintenance runs beside each feed on sessions of its own, so that a slow answer here delays no change.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from notifier import metrics
from notifier.errors import KNOWN_FAILURES
from notifier.outbox_cleanup import PIECE_ROWS, OutboxCleanup
from notifier.project import ProjectFeed
from realtime.causes.sentence import why
from realtime.logs.setup import get_logger
from realtime.postgres.backlog import read_backlog
from realtime.postgres.catalogue import Catalogue
from realtime.postgres.connector import connector_for
from realtime.postgres.pool import Database
from realtime.process.run import apart
from realtime.waiting.outage import Outage
from realtime.waiting.survival import Part

log = get_logger(__name__)

_part = Part("caretaker")

ROUND_SECONDS = 1.0
CHECKPOINTS_SECONDS = 10.0


async def maintain(feed: ProjectFeed, mend_seconds: float) -> None:
    """Run all maintenance tasks until cancelled; a task that fails is retried in its next round.

    Every `mend_seconds`, partitions without triggers are searched.
    """
    database = Database(feed.project)
    cleanup = OutboxCleanup(database)
    rounds = [
        _repeat(ROUND_SECONDS, feed, lambda: feed.has_lock, lambda: _measure(feed, database)),
        _repeat(ROUND_SECONDS, feed, lambda: feed.has_resumed, lambda: _delete_published(cleanup)),
        _repeat(CHECKPOINTS_SECONDS, feed, lambda: feed.has_resumed, cleanup.delete_old_checkpoints),
        _repeat(mend_seconds, feed, lambda: feed.has_resumed, lambda: _mend(feed, Catalogue(database))),
    ]
    try:
        async with asyncio.TaskGroup() as tasks:
            for one in rounds:
                tasks.create_task(one, name=f"maintain {feed.project_id}")
    finally:
        await database.close()


async def _repeat(
    seconds: float,
    feed: ProjectFeed,
    condition: Callable[[], bool],
    action: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    outage = Outage()
    while True:
        if condition():
            try:
                await apart(action(), f"maintain {feed.project_id}")
                outage.end()
            except KNOWN_FAILURES as error:
                reason = why(error, connector_for(feed.project.database_url).server_name)
                if outage.is_news(reason, time.monotonic()):
                    log.warning("upkeep_failed", project=feed.project_id, error=reason)
            except Exception as error:
                _part.note(error, feed.project_id)
        await asyncio.sleep(seconds)


async def _measure(feed: ProjectFeed, database: Database) -> None:
    async with database.connection() as connection:
        backlog = await read_backlog(connection)
    feed.candidacy.hear(time.monotonic())
    if feed.leads:  # it may have lost the lead meanwhile
        metrics.measure_backlog(feed.project_id, backlog)


async def _delete_published(cleanup: OutboxCleanup) -> None:
    while await cleanup.delete_published() == PIECE_ROWS:
        pass


async def _mend(feed: ProjectFeed, catalogue: Catalogue) -> None:
    mended = await catalogue.mend_partitions()
    if mended:
        log.info("partitions_mended", project=feed.project_id, partitions_count=mended)
