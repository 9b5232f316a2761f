"""The stage of the measurements: a Postgres that waits for its disk, a Valkey, a notifier process."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import asyncpg
import psutil
from redis.asyncio import Redis

from bench.cpu import cpu_seconds
from bench.programs import DEADLINE_SECONDS, POLL_SECONDS, PROJECT, service
from realtime import names
from realtime.channels import Event, Table
from realtime.dev.postgres import postgres
from realtime.dev.valkey import valkey
from realtime.postgres.catalogue import Catalogue
from realtime.postgres.pool import Database
from realtime.settings.config import Project

POSTGRES = {
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
    "unix_socket_directories": ".",  # of the data directory
}


@dataclass(frozen=True, slots=True)
class Stage:
    """What a measurement gets; `session` is an open session of the superuser."""

    directory: Path
    database_url: str
    redis_url: str
    session: Any
    redis: Redis
    notifier: psutil.Process
    valkey: psutil.Process

    @property
    def writers_url(self) -> str:
        """The database by a socket of the file system, which takes less CPU on both sides than TCP."""
        url = urlsplit(self.database_url)
        where = urlencode({"host": self.directory / "postgres" / "data", "port": url.port})
        return f"postgresql://{url.username}:{url.password}@{url.path}?{where}"

    async def enable(self, name: str) -> None:
        """Switch realtime on for a table of schema public."""
        database = Database(Project(database_url=self.database_url))
        try:
            await Catalogue(database).enable(Table("public", name), list(Event), None, 1_048_576)
        finally:
            await database.close()

    async def published(self, name: str) -> int:
        """How many changes of a table Redis has numbered."""
        topic = Table("public", name).topic
        return int(await self.redis.hget(names.topic_meta(PROJECT, topic), "offset") or 0)

    async def wait_published(self, name: str, changes: int) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await self.published(name) < changes:
                await asyncio.sleep(POLL_SECONDS)

    async def wait_tidy(self) -> None:
        """Wait until nothing is left to do for the notifier."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await self.session.fetchval("select exists (select from realtime.outbox)"):
                await asyncio.sleep(POLL_SECONDS)

    def cpu_seconds(self) -> float:
        """What the notifier has used so far."""
        return cpu_seconds(self.notifier)


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="realtime-bench-") as name:
        directory = Path(name)
        async with (
            postgres(directory, settings=POSTGRES) as database,
            valkey(directory, settings={"appendonly": "no"}) as broker,
            service("notifier", redis_url=broker.url, database_url=database.url) as notifier,
            Redis.from_url(broker.url) as redis,
        ):
            session = await asyncpg.connect(database.url)
            try:
                processes = notifier.measured, psutil.Process(broker.pid)
                yield Stage(directory, database.url, broker.url, session, redis, *processes)
            finally:
                await session.close()
