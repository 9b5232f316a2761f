"""One project as a gateway sees it: its settings, its keys, its tables.

The composition root and a reload make one tenant for each project. REST handlers, connections and
subscriptions ask the tenant each time, since a reload may change its answers. The caller of `change` closes
what was replaced.
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
from gateway.projects.tally import Tally
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
    """A resource that may still be in use."""

    async def retire(self) -> None:
        """Close the resource after use, within some seconds; when cancelled, at once."""


class Tenant:
    """A project on this node."""

    def __init__(self, project_id: str, settings: Settings, http: aiohttp.ClientSession) -> None:
        project = settings.projects[project_id]
        self._settings = settings  # in force now
        self._http = http
        self._table_history = table_history(settings, project_id)
        self._connection_rate: Bucket | None = None  # of this node; None: no client came yet
        self.project_id = project_id
        self.project = project
        self.keys = KeyRing.of(project_id, project, http)
        self.tables = Tables(project, project_id)
        self.rates = Rates(project.limits)
        self.ledger = HistoryLedger()  # empty while there is no limit
        self.presence = PresenceQuota()
        self.tally = Tally()
        self.is_gone = False  # the project is no longer served

    def __repr__(self) -> str:
        return f"<Tenant {self.project_id}{', gone' if self.is_gone else ''}>"

    @property
    def settings(self) -> Settings:
        """The settings in force, of all projects."""
        return self._settings

    @property
    def limits(self) -> Limits:
        return self.project.limits

    @property
    def catalogue(self) -> Catalogue:
        return self.tables.catalogue

    def history_of(self, channel: Channel) -> History:
        """Return how much history of a channel is kept."""
        if channel.table is not None:
            return self._table_history
        namespace = self.project.namespaces.get(channel.namespace, Namespace())
        return History(namespace.history_entries, namespace.history_seconds)

    def takes_one_more(self, now: float) -> bool:
        """Count a client that connects, by a monotonic clock; return False if too many come at once."""
        rate = self.limits.connections_per_second
        if not rate:
            return True
        if self._connection_rate is None:
            self._connection_rate = Bucket(rate, max(1.0, rate), now)
        return self._connection_rate.take(now)

    async def is_enabled(self, table: Table) -> bool | None:
        """Return whether realtime is on for a table now; None when the database does not answer."""
        return await self.tables.is_enabled(table)

    async def backlog(self) -> Backlog:
        return await self.tables.backlog()

    def change(self, settings: Settings) -> list[Retiring]:
        """Apply newer settings; return the replaced resources, which the caller has to close."""
        to_build = to_build_anew(self._settings, settings, self.project_id)
        self._settings, self.project = settings, settings.projects[self.project_id]
        self._table_history = table_history(settings, self.project_id)
        self.rates.limits = self.limits
        if Built.CONNECTION_RATE in to_build:
            self._connection_rate = None
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
        """Close keys and database sessions after use."""
        await self.keys.retire()
        await self.tables.retire()

    async def close(self) -> None:
        await self.keys.close()
        await self.tables.close()


def warn_of_shared_keys(projects: Mapping[str, Project]) -> None:
    """Log which projects accept each other's tokens, since they share a key; never log the key."""
    for group in projects_with_one_key(projects):
        log.warning("keys_shared", projects=group)
