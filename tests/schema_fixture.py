"""Schema realtime under load: writers that go on, psql, and the SQL of docs/upgrades.md.

For the tests of ways up, back and out. Starts nothing but sessions and psql.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from realtime.dev.postgres import postgres_program
from tests.docs_fixture import blocks
from tests.gateway_fixture import eventually
from tests.notifier_fixture import session

VERSION, ONE_INDEX, ENABLED, NO_TRIGGERS, NO_ROLE = [
    block.text for block in blocks("docs/upgrades.md", "sql")
]


@asynccontextmanager
async def writers(database_url: str) -> AsyncIterator[list[int]]:
    """Let two sessions insert orders, a row a transaction, until the block ends; yields the ids committed."""
    committed: list[int] = []
    over = asyncio.Event()

    async def write(first: int) -> None:
        async with session(database_url) as connection:
            row_id = first
            while not over.is_set():
                await connection.execute("insert into orders values ($1, 'note')", row_id)
                committed.append(row_id)
                row_id += 2

    async with asyncio.TaskGroup() as tasks:
        for first in (1_000_000, 1_000_001):
            tasks.create_task(write(first), name=f"writer {first}")
        try:
            yield committed
        finally:
            over.set()


async def more(committed: list[int]) -> None:
    """Wait until the writers have got on."""
    enough = len(committed) + 50
    await eventually(lambda: len(committed) >= enough)


async def rows(connection: Any) -> list[int]:
    return [row[0] for row in await connection.fetch("select id from orders order by id")]


async def demand(connection: Any, oldest: int) -> None:
    """Make the schema a newer one, for programs that know this version."""
    await connection.execute("update realtime.version set version = 99, oldest = $1", oldest)


async def psql(database_url: str, text: str) -> str:
    """Run a script as a person does; return what it printed, `failed` first if it ended badly."""
    program = postgres_program("psql")
    run = await asyncio.create_subprocess_exec(
        *(str(program), "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--tuples-only", "--no-align", database_url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await run.communicate(text.encode())
    return ("" if run.returncode == 0 else "failed: ") + printed.decode()
