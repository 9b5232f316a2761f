"""Read the true contents of the tables from the database, for loads of replicas and for the verdict.

Reads the rows and the ids of deleted rows in one snapshot, never during a restore, and retries until it
succeeds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import asyncpg

from tests.chaos.mirror import Truth
from tests.chaos.world import World

AT_ONCE = 3  # connections
AGAIN_SECONDS = 0.2
ANSWER_SECONDS = 20.0
FAILURES = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
TABLES = ("chaos_a", "chaos_b", "chaos_c")


class Ledger:
    """The present contents of the tables."""

    def __init__(self, database_url: Callable[[], str], world: World) -> None:
        self._database_url = database_url
        self._world = world
        self._turns = asyncio.Semaphore(AT_ONCE)

    def __repr__(self) -> str:
        return f"<Ledger of {', '.join(TABLES)}>"

    async def read(self, table: str) -> Truth:
        """Return the contents of a table; if a restore begins meanwhile, the contents after the restore."""
        async with self._turns:
            while True:
                await self._world.whole.wait()
                restores = self._world.restores
                try:
                    truth = await self._look(table)
                except FAILURES:
                    await asyncio.sleep(AGAIN_SECONDS)
                    continue
                if restores == self._world.restores:
                    return truth

    async def _look(self, table: str) -> Truth:
        connection = await asyncpg.connect(self._database_url(), timeout=5, command_timeout=ANSWER_SECONDS)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                rows = await connection.fetch(f"select id, version, note from {table}")
                dead = await connection.fetchval("select array_agg(id) from graves where name = $1", table)
        finally:
            await connection.close(timeout=30)
        return Truth({id: (version, note) for id, version, note in rows}, frozenset(dead or ()))
