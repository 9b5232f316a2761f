"""Real servers for the tests: a Postgres and a Valkey a run of pytest, a database of one's own in it a test.

Called by the fixtures, and by tests that stop and start a server of their own.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from realtime.dev.postgres import NO_SETTINGS, EmbeddedPostgres, postgres
from realtime.dev.valkey import EmbeddedValkey, valkey
from tests.ports import free_port

# What they hold is thrown away with them.
POSTGRES = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}
VALKEY = {"appendonly": "no"}

_numbers = itertools.count(1)


@asynccontextmanager
async def throw_away_postgres(
    directory: Path, settings: Mapping[str, str] = NO_SETTINGS, port: int = 0
) -> AsyncIterator[EmbeddedPostgres]:
    async with postgres(
        directory, port=port or _first_port(directory / "postgres-port"), settings={**POSTGRES, **settings}
    ) as server:
        yield server


@asynccontextmanager
async def throw_away_valkey(
    directory: Path, settings: Mapping[str, str] = NO_SETTINGS, port: int = 0
) -> AsyncIterator[EmbeddedValkey]:
    async with valkey(
        directory, port=port or _first_port(directory / "valkey-port"), settings={**VALKEY, **settings}
    ) as server:
        yield server


def _first_port(kept: Path) -> int:
    """One that nobody takes while the server starts; 0 if it keeps that of its last run."""
    return 0 if kept.exists() else free_port()


@asynccontextmanager
async def fresh_database(server_url: str, encoding: str = "UTF8") -> AsyncIterator[str]:
    """Create a database and drop it in the end, whoever is still connected; yields its superuser's URL."""
    name = f"fresh_{next(_numbers)}"
    options = "" if encoding == "UTF8" else f" encoding '{encoding}' locale 'C' template template0"
    await _administer(server_url, f"create database {name}{options}")
    try:
        yield urlsplit(server_url)._replace(path=f"/{name}").geturl()
    finally:
        await _administer(server_url, f"drop database {name} with (force)")


async def _administer(server_url: str, statement: str) -> None:
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
