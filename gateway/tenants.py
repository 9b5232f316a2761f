"""One project as a gateway sees it: its settings, its keys, its tables.

The composition root makes one a project; REST handlers and subscriptions ask it.
"""

from __future__ import annotations

import asyncio

import aiohttp
import asyncpg

from realtime.backlog import Backlog, read_backlog
from realtime.broker import History
from realtime.catalogue import Catalogue, EnabledTable
from realtime.channels import Channel, Table
from realtime.config import Limits, Namespace, Project
from realtime.database import Database
from realtime.errors import ClientError
from realtime.jwks import KeyRing

ENABLED_SECONDS = 1.0  # for which a `subscribe` waits for the database


class Tenant:
    """A project on this node."""

    def __init__(self, project_id: str, project: Project, http: aiohttp.ClientSession) -> None:
        self.project_id = project_id
        self.project = project
        self.keys = KeyRing.of(project_id, project, http)
        self.database = Database(project)
        self.catalogue = Catalogue(self.database)
        self._reading: asyncio.Task[list[EnabledTable]] | None = None  # under way
        self._next: asyncio.Task[list[EnabledTable]] | None = None  # begins when that one ends

    def __repr__(self) -> str:
        return f"<Tenant {self.project_id}>"

    @property
    def limits(self) -> Limits:
        return self.project.limits

    def history_of(self, channel: Channel) -> History:
        """How much of a broadcast channel is kept."""
        namespace = self.project.namespaces.get(channel.namespace, Namespace())
        return History(namespace.history_entries, namespace.history_seconds)

    async def is_enabled(self, table: Table) -> bool | None:
        """Tell whether realtime is on for a table now; None when the database does not answer.

        An error is no answer: while a dump is restored, anything that is asked for may be missing.

        However many ask at once, at most two queries answer them all, each begun after it was asked for.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._read_after(self._reading), name="read enabled tables")
            # Those who asked may be gone when it fails.
            self._next.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            async with asyncio.timeout(ENABLED_SECONDS):
                return table in {enabled.table for enabled in await asyncio.shield(self._next)}
        except (ClientError, asyncpg.PostgresError, TimeoutError):
            return None

    async def _read_after(self, reading: asyncio.Task[list[EnabledTable]] | None) -> list[EnabledTable]:
        if reading is not None:
            await asyncio.wait([reading])
        self._reading, self._next = self._next, None
        return await self.catalogue.enabled()

    async def backlog(self) -> Backlog:
        async with self.database.connection() as connection:
            return await read_backlog(connection)

    async def close(self) -> None:
        await self.keys.close()
        await self.database.close()
