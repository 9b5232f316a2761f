"""A stranger: a role that may connect, and has no right in schema realtime; and what it can hold.

The service connects as an ordinary role, too: `service`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from realtime import names
from realtime.postgres.migrations import migration_sql
from realtime.settings.config import Settings
from tests.notifier_fixture import Witness, enable, project_at, session, settings_at, witness
from tests.schema_fixture import psql
from tests.servers import throw_away_postgres

FORMER_BELL_LOCK, FORMER_MIGRATE_LOCK = 0x7265616C_6177616B, 0x7265616C_6D696772
EVERYTHING = """
    select oid, relname from pg_class
    where relnamespace = 'realtime'::regnamespace and relkind in ('r', 'v', 'S')
"""


def as_role(url: str, role: str) -> str:
    """The same database, for a role whose password is its name."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{role}:{role}@{parts.hostname}:{parts.port}").geturl()


@asynccontextmanager
async def roles(url: str, **options: str) -> AsyncIterator[None]:
    """Make roles, each with its options, and take them away again."""
    async with session(url) as administrator:
        for role, option in options.items():
            await administrator.execute(f"create role {role} login password '{role}' {option}")
        try:
            yield
        finally:
            for role in options:
                await administrator.execute(f"drop owned by {role} cascade; drop role {role}")


@dataclass
class Stranger:
    """Sessions of it, which stay open."""

    url: str
    sessions: AsyncExitStack

    async def session(self) -> Any:
        return await self.sessions.enter_async_context(session(self.url))

    async def hold_advisory_locks(self) -> None:
        """Those that this service ever used: one in each way."""
        for lock in (names.LEADER_LOCK, FORMER_BELL_LOCK, FORMER_MIGRATE_LOCK):
            await (await self.session()).execute("select pg_advisory_lock($1)", lock)

    async def hold_the_schema(self, administrator: Any) -> set[str]:
        """Keep every relation locked as a writer does, which takes no right; return which."""
        one = await self.session()
        await one.execute("begin")
        relations = await administrator.fetch(EVERYTHING)
        for relation in relations:
            await one.execute("savepoint one")
            with suppress(asyncpg.PostgresError):
                await one.fetchval("select nextval($1::oid::regclass)", relation["oid"])
            await one.execute("rollback to one")
        held = await administrator.fetch(
            f"select relname from ({EVERYTHING}) as one join pg_locks on relation = one.oid"
            " where pid = $1 and mode = 'RowExclusiveLock'",
            await one.fetchval("select pg_backend_pid()"),
        )
        return {row["relname"] for row in held}


@dataclass
class Server:
    settings: Settings
    seen: Witness
    writer: Any
    stranger: Stranger


@asynccontextmanager
async def server_of_its_own(directory: Path, redis_url: str, **options: str) -> AsyncIterator[Server]:
    """A database server with such settings, roles service and stranger, and an enabled table."""
    async with throw_away_postgres(directory, options) as server, session(server.url) as writer:
        await writer.execute("create role stranger login password 'stranger'")
        await writer.execute("create role service login password 'service'")
        await enable(server.url)
        assert "failed" not in await psql(server.url, migration_sql("service"))
        settings = settings_at(redis_url, demo=project_at(as_role(server.url, "service")))
        async with witness(settings) as seen, AsyncExitStack() as sessions:
            yield Server(settings, seen, writer, Stranger(as_role(server.url, "stranger"), sessions))
