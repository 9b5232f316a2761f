"""The projects that this notifier serves: for each a candidacy in the election, a feed, and its maintenance.

The composition root starts the projects of the settings, and passes newer settings on after each reload. A
project that is removed or changed ends between two batches; the others continue without a break.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial

from notifier import metrics
from notifier.feed.feed_settings import FeedSettings
from notifier.feed.publication_store import PublicationStore
from notifier.leadership.election import Election
from notifier.maintenance import maintain
from notifier.project import ProjectFeed
from notifier.timings import Timings
from realtime.logs.setup import get_logger
from realtime.process.reload import Changes
from realtime.settings.config import Settings
from realtime.settings.reloading import Built, to_build_anew
from realtime.waiting.survival import Part

log = get_logger(__name__)

_part = Part("duties")


class Projects:
    """Starts and ends the feed and the maintenance of each project, as tasks of the given group."""

    def __init__(
        self,
        settings: Settings,
        publications: PublicationStore,
        election: Election,
        tasks: asyncio.TaskGroup,
        timings: Timings,
    ) -> None:
        self._publications = publications
        self._election = election
        self._tasks = tasks
        self._timings = timings
        self._settings = settings  # in force now
        self._feeds: dict[str, ProjectFeed] = {}
        self._running: dict[str, list[asyncio.Task[None]]] = {}  # its feed first, then its maintenance

    def __repr__(self) -> str:
        return f"<Projects {len(self._feeds)} projects>"

    def begin(self) -> None:
        """Serve every project of the settings."""
        _warn_of_shared_databases(self._settings)
        for project_id in self._settings.projects:
            with _part.survives(project_id):
                self._begin(project_id)

    def why_not_ready(self) -> str | None:
        return why_not_ready(self._feeds.values())

    async def take(self, settings: Settings, changes: Changes) -> None:
        """Apply newer settings; return when the feeds that had to end have ended."""
        older, self._settings = self._settings, settings
        _warn_of_shared_databases(settings)
        for project_id in changes.added:
            with _part.survives(project_id):
                self._begin(project_id)
        async with asyncio.TaskGroup() as ends:
            for project_id in changes.removed:
                leaving = _part.run(self._leave(project_id), project_id)
                ends.create_task(leaving, name=f"leave {project_id}")
            for project_id in changes.changed:
                if Built.FEED in to_build_anew(older, settings, project_id):
                    beginning = _part.run(self._begin_anew(project_id), project_id)
                    ends.create_task(beginning, name=f"begin {project_id} anew")

    def _begin(self, project_id: str) -> None:
        settings, candidacy = (
            FeedSettings.of(self._settings, project_id),
            self._election.candidacy_of(project_id),
        )
        feed = self._feeds[project_id] = ProjectFeed(
            settings, self._publications, candidacy, self._timings.feed
        )
        maintenance = partial(maintain, feed, self._timings.mend_seconds)
        self._running[project_id] = [
            self._tasks.create_task(_part.keep_running(feed.run), name=f"feed {project_id}"),
            self._tasks.create_task(_part.keep_running(maintenance), name=f"maintain {project_id}"),
        ]

    async def _begin_anew(self, project_id: str) -> None:
        """Restart a feed with the same candidacy: a leader leads again, unless another notifier is faster."""
        await self._end(project_id)
        self._begin(project_id)

    async def _leave(self, project_id: str) -> None:
        self._election.leave(project_id)
        await self._end(project_id)
        metrics.remove_project(project_id)

    async def _end(self, project_id: str) -> None:
        if project_id not in self._feeds:  # it failed to start
            return
        feed, running = self._feeds.pop(project_id), self._running.pop(project_id, [])
        feed.dismiss()
        if running and feed.candidacy.leads_since is not None:
            await asyncio.wait(running[:1], timeout=self._timings.last_batch_seconds)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)


def why_not_ready(feeds: Iterable[ProjectFeed]) -> str | None:
    """Return why not, or None if the notifier leads, or stands by for, every project."""
    waiting = [f"{feed.project_id}: {why}" for feed in feeds if (why := feed.why_not_ready)]
    return "; ".join(waiting) or None


def _warn_of_shared_databases(settings: Settings) -> None:
    """Warn if projects share a database: it has one outbox, which the first project to lead owns."""
    by_url: dict[str, str] = {}
    for project_id, project in settings.projects.items():
        other = by_url.setdefault(project.direct_url, project_id)
        if other != project_id:
            log.warning("database_shared", projects=[other, project_id])
