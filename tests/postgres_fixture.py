"""Real Postgres for the tests: one throw-away server a session, one fresh database a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import asyncpg

from realtime.dev.postgres import NO_SETTINGS, postgres
from realtime.postgres.catalogue import Catalogue
from tests.ports import free_port

# What it holds is thrown away with it, and nobody but a test looks at a table, locks it or keeps its rows.
THROW_AWAY = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
}


@asynccontextmanager
async def throw_away_postgres(
    directory: Path, settings: Mapping[str, str] = NO_SETTINGS
) -> AsyncIterator[str]:
    """Run a server in the directory; yields its superuser's URL."""
    async with postgres(directory, port=free_port(), settings={**THROW_AWAY, **settings}) as server:
        yield server.url


@dataclass
class Database:
    """A fresh database: `superuser` is an open session in it, `catalogue` the door under test."""

    url: str
    superuser: Any

    @property
    def name(self) -> str:
        return urlsplit(self.url).path.removeprefix("/")

    @property
    def catalogue(self) -> Catalogue:
        return Catalogue(Sessions(self.url))

    def url_of(self, role: str, password: str | None = None) -> str:
        """The URL of a role, whose password is its own name unless one is given."""
        parts = urlsplit(self.url)
        who = f"{quote(role, safe='')}:{quote(password or role, safe='')}"
        return parts._replace(netloc=f"{who}@{parts.hostname}:{parts.port}").geturl()

    def catalogue_of(self, role: str, password: str | None = None) -> Catalogue:
        return Catalogue(Sessions(self.url_of(role, password)))

    def session(self, role: str | None = None, **settings: str) -> AbstractAsyncContextManager[Any]:
        """Open another session, as the superuser or as a role."""
        return open_session(self.url_of(role) if role else self.url, **settings)

    async def captured(self) -> list[tuple[str, str, str, str | None]]:
        """What the outbox has, in its order: table, event, data, old; rows as the text of jsonb."""
        rows = await self.superuser.fetch(
            "select table_name, event, data::jsonb::text, old::jsonb::text from realtime.outbox order by id"
        )
        return [tuple(row) for row in rows]


class Sessions:
    """Lends a connection of its own to each caller."""

    def __init__(self, url: str) -> None:
        self._url = url

    def connection(self) -> AbstractAsyncContextManager[Any]:
        return open_session(self._url)


@asynccontextmanager
async def open_session(url: str, **settings: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url, server_settings=settings)
    try:
        yield connection
    finally:
        await connection.close(timeout=30)


@asynccontextmanager
async def fresh_database(server_url: str, name: str) -> AsyncIterator[Database]:
    """Make a database and drop it, with every role that the test made; roles belong to the whole server."""
    async with open_session(server_url) as administrator:
        await administrator.execute(f"create database {name}")
        url = urlsplit(server_url)._replace(path=f"/{name}").geturl()
        try:
            async with open_session(url) as superuser:
                yield Database(url, superuser)
        finally:
            await administrator.execute(f"drop database {name} with (force)")
            await _drop_roles(administrator)


async def _drop_roles(administrator: Any) -> None:
    """Drop the roles that no other database of a test still needs."""
    for (role,) in await administrator.fetch(
        "select format('drop role %I', rolname) from pg_roles where oid >= 16384"
    ):
        with suppress(asyncpg.DependentObjectsStillExistError):
            await administrator.execute(role)
