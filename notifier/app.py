"""The notifier's composition root: every part in start order, stopped in reverse.

settings → broker → internal port → election → for each project: its feed, its caretaker
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket

from notifier.caretaker import look_after
from notifier.election import Election
from notifier.project import ProjectFeed
from realtime.broker import Broker, connect, table_history
from realtime.config import Settings
from realtime.errors import Unavailable
from realtime.internal_http import internal_http

logger = logging.getLogger(__name__)


async def run(settings: Settings, internal_host: str, internal_port: int | None) -> None:
    """Serve every project until cancelled."""
    async with connect(settings.redis_url) as client:
        broker = Broker(client, settings)
        election = Election(client, _id(), settings.projects)
        feeds = [
            ProjectFeed(
                project_id,
                project,
                broker,
                table_history(settings, project_id),
                settings.poll_seconds,
                election.seats[project_id],
            )
            for project_id, project in settings.projects.items()
        ]
        _warn_of_shared_databases(settings)
        await _warn_of_eviction(broker)
        async with (
            internal_http(internal_host, internal_port, lambda: _why_not_ready(feeds)),
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(election.run(), name="election")
            for feed in feeds:
                tasks.create_task(feed.run(), name=f"feed {feed.project_id}")
                tasks.create_task(look_after(feed), name=f"look after {feed.project_id}")


def _id() -> str:
    """A name that no other notifier has, and that tells where it runs."""
    return f"{socket.gethostname()}-{secrets.token_hex(3)}"


def _why_not_ready(feeds: list[ProjectFeed]) -> str | None:
    """A notifier is ready when it leads, or stands by for, every project."""
    waiting = [f"{feed.project_id}: {feed.state.value}" for feed in feeds if not feed.ready]
    return "; ".join(waiting) or None


def _warn_of_shared_databases(settings: Settings) -> None:
    """A database has one outbox, which belongs to whichever project leads first."""
    by_url: dict[str, str] = {}
    for project_id, project in settings.projects.items():
        other = by_url.setdefault(project.direct_url, project_id)
        if other != project_id:
            logger.warning("projects %s and %s share a database: one hears its changes", other, project_id)


async def _warn_of_eviction(broker: Broker) -> None:
    """A Redis that evicts keys loses epochs and history, which clients see as `resync`."""
    try:
        policy = await broker.eviction_policy()
    except Unavailable:
        return
    if policy != "noeviction":
        logger.warning("Redis has maxmemory-policy %s: set noeviction, or history may be lost", policy)
