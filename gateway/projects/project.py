"""One project as a gateway sees it: its settings, its keys, its tables.

The composition root makes one a project; REST handlers, connections and subscriptions ask it, each time anew,
since a reload may change what it answers. What it had before is closed by whoever changed it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import aiohttp

from gateway.projects.history_quota import HistoryLedger
from gateway.projects.jwks import KeyRing
from gateway.projects.presence_quota import PresenceQuota
from gateway.projects.rate_limit import Rates
from gateway.projects.tables import Tables
from gateway.projects.token_bucket import Bucket
from realtime.auth.tokens import projects_with_one_key
from realtime.channels import Channel, Table
from realtime.logs.setup import get_logger
from realtime.postgres.backlog import Backlog
from realtime.postgres.catalogue import Catalogue
from realtime.redis.history import History, table_history
from realtime.settings.config import Limits, Namespace, Project, Settings
from realtime.settings.reloading import Built, to_build_anew

log = get_logger(__name__)


class Retiring(Protocol):
    """Something that somebody may be using still."""

    async def retire(self) -> None:
        """Close it after use, within some seconds; when cancelled, at once."""


class Tenant:
    """A project on this node."""

    def __init__(self, project_id: str, settings: Settings, http: aiohttp.ClientSession) -> None:
        project = settings.projects[project_id]
        self._settings = settings  # by which it goes
        self._http = http
        self._table_history = table_history(settings, project_id)
        self._door: Bucket | None = None  # connections_per_second of this node; None: nobody came yet
        self.project_id = project_id
        self.project = project
        self.keys = KeyRing.of(project_id, project, http)
        self.tables = Tables(project, project_id)
        self.rates = Rates(project.limits)
        self.ledger = HistoryLedger()  # empty while there is no limit
        self.presence = PresenceQuota()
        self.is_gone = False  # the project is served no more

    def __repr__(self) -> str:
        return f"<Tenant {self.project_id}{', gone' if self.is_gone else ''}>"

    @property
    def limits(self) -> Limits:
        return self.project.limits

    @property
    def catalogue(self) -> Catalogue:
        return self.tables.catalogue

    def history_of(self, channel: Channel) -> History:
        """How much of a channel is kept."""
        if channel.table is not None:
            return self._table_history
        namespace = self.project.namespaces.get(channel.namespace, Namespace())
        return History(namespace.history_entries, namespace.history_seconds)

    def takes_one_more(self, now: float) -> bool:
        """Count somebody who wants in, by a clock that never goes back; False: too many came at once."""
        rate = self.limits.connections_per_second
        if not rate:
            return True
        if self._door is None:
            self._door = Bucket(rate, max(1.0, rate), now)
        return self._door.take(now)

    async def is_enabled(self, table: Table) -> bool | None:
        """Tell whether realtime is on for a table now; None when the database does not answer."""
        return await self.tables.is_enabled(table)

    async def backlog(self) -> Backlog:
        return await self.tables.backlog()

    def change(self, settings: Settings) -> list[Retiring]:
        """Go by newer settings from now on; return what of the older ones is left to be closed."""
        to_build = to_build_anew(self._settings, settings, self.project_id)
        self._settings, self.project = settings, settings.projects[self.project_id]
        self._table_history = table_history(settings, self.project_id)
        self.rates.limits = self.limits
        if Built.CONNECTION_RATE in to_build:
            self._door = None
        if not self.limits.max_history_bytes:
            self.ledger = HistoryLedger()
        retiring: list[Retiring] = []
        if Built.TOKEN_KEYS in to_build:
            retiring.append(self.keys)
            self.keys = KeyRing.of(self.project_id, self.project, self._http)
        if Built.DATABASE_SESSIONS in to_build:
            retiring.append(self.tables)
            self.tables = Tables(self.project, self.project_id)
        return retiring

    async def retire(self) -> None:
        """Close it after use."""
        await self.keys.retire()
        await self.tables.retire()

    async def close(self) -> None:
        await self.keys.close()
        await self.tables.close()


def warn_of_shared_keys(projects: Mapping[str, Project]) -> None:
    """Tell of projects whose tokens are good for one another; never of the key."""
    for group in projects_with_one_key(projects):
        log.warning("keys_shared", projects=group)
