"""A project's database as a gateway queries it: which tables have realtime on, and what waits in the outbox.

A tenant keeps one `Tables` until a reload changes the database settings. Database sessions open on first use.
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
    """The tables of a project, read from the project's database."""

    def __init__(
        self, project: Project, project_id: str | None = None, enabled_seconds: float = ENABLED_SECONDS
    ) -> None:
        self._enabled_seconds = enabled_seconds
        self._database = Database(project, logged_as=project_id)
        self.catalogue = Catalogue(self._database)
        self._enabled: SingleFlight[list[EnabledTable]] = SingleFlight(name="read enabled tables")

    async def is_enabled(self, table: Table) -> bool | None:
        """Return whether realtime is on for a table now; None when the database does not answer.

        An error counts as no answer: while a dump is restored, anything that a query needs may be missing.

        However many calls wait, at most two queries answer all calls, and each query begins after its calls.
        """
        try:
            async with asyncio.timeout(self._enabled_seconds):
                found = await self._enabled.get_begun_after_now(self.catalogue.enabled)
        except (ClientError, StatementFailed, TimeoutError) as error:
            self.report_refusal(error)
            return None
        return table in {enabled.table for enabled in found}

    def report_refusal(self, error: Exception) -> None:
        """Log why Postgres refused a query; every other failure is logged where it is raised."""
        if isinstance(error, StatementFailed):
            self._database.report_refusal(error)

    async def backlog(self) -> Backlog:
        async with self._database.connection() as connection:
            return await read_backlog(connection)

    async def retire(self) -> None:
        """Close after the queries that are under way, within COMMAND_TIMEOUT_SECONDS."""
        await self._database.close(COMMAND_TIMEOUT_SECONDS)

    async def close(self) -> None:
        await self._database.close()
