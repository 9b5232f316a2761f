"""How much of a topic is kept for clients that reconnect, and what all stores of topics share.

The notifier publishes changes, gateways publish broadcasts and read topics; each has a store of its own.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from realtime import names
from realtime.settings.config import Settings

HISTORY_BYTES = 64 * 1024 * 1024  # of one topic; more would make Redis' memory depend on the size of rows


@dataclass(frozen=True, slots=True)
class History:
    """How much of a topic is kept for clients that reconnect."""

    max_entries: int
    max_seconds: float
    max_bytes: int = HISTORY_BYTES

    @property
    def max_age_ms(self) -> int:
        return milliseconds(self.max_seconds)

    def arguments(self) -> list[int]:
        return [self.max_entries, self.max_age_ms, self.max_bytes]


def table_history(settings: Settings, project_id: str) -> History:
    """Return how much of each table topic of a project is kept."""
    project = settings.projects[project_id]
    return History(
        project.history_entries or settings.history_entries,
        project.history_seconds or settings.history_seconds,
    )


def milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


def topic_keys(project: str, topic: str) -> list[str]:
    """Return the keys, without the channel: while a slot moves, a missing key makes Redis say TRYAGAIN."""
    return [names.topic_meta(project, topic), names.topic_history(project, topic)]


def new_epoch() -> str:
    """Return a random name, which no other history of the topic has had."""
    return secrets.token_hex(6)
