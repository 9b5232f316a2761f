"""What the settings say of one project's feed: its database, how it is read, how much history is kept."""

from __future__ import annotations

from dataclasses import dataclass

from realtime.redis.history import History, table_history
from realtime.settings.config import Project, Settings


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """Settings of one project's feed, in force until a reload starts a new feed."""

    project_id: str
    project: Project
    history: History
    poll_seconds: float

    @classmethod
    def of(cls, settings: Settings, project_id: str) -> FeedSettings:
        return cls(
            project_id,
            settings.projects[project_id],
            table_history(settings, project_id),
            settings.poll_seconds,
        )
