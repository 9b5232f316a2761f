"""A project's database as a gateway asks it: which tables have realtime on, and what waits in the outbox.

A tenant has one for as long as its `database_url` is the same. Opens sessions when it is first asked.
"""

from __future__ import annotations

import asyncio

from realtime.channels import Table
from realtime.errors import ClientError, StatementFailed
from realtime.postgres.backlog import Backlog, read_backlog
from realtime.postgres.catalogue import Catalogue, EnabledTable
from realtime.postgres.pool import COMMAND_TIMEOUT_SECONDS, Database
from realtime.settings.config import Project
from realtime.waiting.single_flight import SingleFlight

ENABLED_SECONDS = 1.0  # for which a `subscribe` waits for the database


class Tables:
    """What a node knows of a project's tables, and whom it asks."""

    def __init__(self, project: Project, project_id: str | None = None) -> None:
        self._database = Database(project, logged_as=project_id)
        self.catalogue = Catalogue(self._database)
        self._enabled: SingleFlight[list[EnabledTable]] = SingleFlight(name="read enabled tables")

    async def is_enabled(self, table: Table) -> bool | None:
        """Tell whether realtime is on for a table now; None when the database does not answer.

        An error is no answer: while a dump is restored, anything that is asked for may be missing.

        However many ask at once, at most two queries answer them all, each begun after it was asked for.
        """
        try:
            async with asyncio.timeout(ENABLED_SECONDS):
                found = await self._enabled.get_begun_after_now(self.catalogue.enabled)
        except (ClientError, StatementFailed, TimeoutError):
            return None
        return table in {enabled.table for enabled in found}

    async def backlog(self) -> Backlog:
        async with self._database.connection() as connection:
            return await read_backlog(connection)

    async def retire(self) -> None:
        """Close, but first let those who ask have their answers; it takes COMMAND_TIMEOUT_SECONDS at most."""
        await self._database.close(COMMAND_TIMEOUT_SECONDS)

    async def close(self) -> None:
        await self._database.close()
