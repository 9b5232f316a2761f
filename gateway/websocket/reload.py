"""Applies newer settings: adds, changes and removes projects, while clients of other projects notice nothing.

The composition root passes in valid settings, which take effect in one step. Leftovers are closed afterwards:
the sockets of a removed project, and keys and database sessions after their last use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import aiohttp

from gateway import metrics
from gateway.projects.project import Tenant, warn_of_shared_keys
from gateway.projects.rate_limit import Rates
from gateway.session.session import refusal
from gateway.websocket.closing import wait_until_gone
from gateway.websocket.connections import Connections
from realtime.errors import CLOSE_CODE, ClientError, Code
from realtime.process.reload import Changes
from realtime.settings.config import Settings
from realtime.waiting.batches import batches
from realtime.waiting.survival import Part

CLOSES_AT_ONCE = 100  # sockets in a batch; between two batches the node serves its other clients

_part = Part("turnover")


class ProjectReload:
    """Keeps `tenants`, which all parts of the node read, as the settings say."""

    def __init__(
        self,
        tenants: dict[str, Tenant],
        strangers: Rates,
        connections: Connections,
        http: aiohttp.ClientSession,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._tenants = tenants
        self._strangers = strangers
        self._connections = connections
        self._http = http
        self._tasks = tasks
        self.ever_served = set(tenants)  # project ids; what a dead node left of a project may be found later

    async def take(self, settings: Settings, changes: Changes) -> None:
        """Apply newer settings. There is no await, so that no request sees only a part of them."""
        self._strangers.limits = settings.limits
        for project_id in changes.removed:
            with _part.survives(project_id):
                self._remove(project_id)
        for project_id in changes.changed:
            with _part.survives(project_id):
                self._change(project_id, settings)
        for project_id in changes.added:
            with _part.survives(project_id):
                self._add(project_id, settings)
        # The comparison runs in a thread, since many projects take long to compare.
        self._later(asyncio.to_thread(warn_of_shared_keys, settings.projects), "look for shared keys")

    def _remove(self, project_id: str) -> None:
        tenant = self._tenants.pop(project_id)
        tenant.is_gone = True
        self._later(self._close_down(tenant), f"close down {project_id}")

    def _change(self, project_id: str, settings: Settings) -> None:
        if project_id not in self._tenants:  # an earlier reload failed to add the project
            return self._add(project_id, settings)
        for older in self._tenants[project_id].change(settings):
            self._later(older.retire(), f"retire {older!r}")

    def _add(self, project_id: str, settings: Settings) -> None:
        metrics.add_project(project_id)
        self._tenants[project_id] = Tenant(project_id, settings, self._http)
        self.ever_served.add(project_id)

    def _later(self, closing: Coroutine[None, None, None], name: str) -> None:
        self._tasks.create_task(_part.run(closing, name), name=name)

    async def _close_down(self, tenant: Tenant) -> None:
        try:
            await self._send_away(tenant)
            await tenant.retire()
        finally:
            await tenant.close()
            if tenant.project_id not in self._tenants:  # else the project was added again
                metrics.remove_project(tenant.project_id)

    async def _send_away(self, tenant: Tenant) -> None:
        """Close the project's sockets in batches, and wait until they are gone."""
        error = refusal(ClientError(Code.NOT_FOUND, "this project is no longer served"))
        leaving = [one for one in self._connections if one.tenant is tenant]
        for batch in batches(leaving, CLOSES_AT_ONCE):
            for connection in batch:
                with _part.survives(connection.session.connection_id):
                    connection.close(CLOSE_CODE[Code.NOT_FOUND], error)
            await asyncio.sleep(self._connections.timings.close_batch_seconds)
        await wait_until_gone(lambda: not any(one in self._connections for one in leaving))
