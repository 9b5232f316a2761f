"""A long transaction beside a busy outbox: what a read costs meanwhile, and what space comes back after it.

A Postgres of its own, and the notifier's feed and cleanup in this process. Publishes to nobody.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from bench.figures import Figure
from bench.stage import POSTGRES
from notifier.feed.feed import Feed
from notifier.outbox_cleanup import PIECE_ROWS, OutboxCleanup
from notifier.sessions import connect
from realtime.channels import Event, Table
from realtime.dev.postgres import postgres
from realtime.postgres.catalogue import Catalogue
from realtime.postgres.pool import Database
from realtime.settings.config import Project

FINISHED = 200_000  # changes that are published and deleted before each look
STATEMENT_ROWS = 10_000
READS = 500
# Vacuum comes when the measurement says so; and what is measured is the search for rows, not the disk.
SETTINGS = {**POSTGRES, "autovacuum": "off", "fsync": "off"}


@dataclass(frozen=True, slots=True)
class Outbox:
    """The outbox of a database with one enabled table, whose notifier keeps up."""

    session: Any
    feed: Feed
    cleanup: OutboxCleanup

    async def fill(self) -> None:
        """Write FINISHED changes, publish them and delete them."""
        for _ in range(FINISHED // STATEMENT_ROWS):
            await self.write(STATEMENT_ROWS)
            await self.read()
            while await self.cleanup.delete_published() == PIECE_ROWS:
                pass

    async def write(self, rows: int) -> None:
        await self.session.execute(
            f"insert into items (note) select 'a note of some length' from generate_series(1, {rows})"
        )

    async def read(self) -> tuple[float, float]:
        """Take the next batch in two steps; return the seconds to find it and to read its changes."""
        snapshot = await self.feed.snapshot()
        started = time.perf_counter()
        await self.feed.advance(snapshot)
        found = time.perf_counter()
        async for _ in self.feed.chunks():
            pass
        read = time.perf_counter()
        await self.feed.confirm()
        return found - started, read - found

    async def read_some(self) -> tuple[float, float]:
        """What a batch of one change takes to be found, and to be read: the medians, in milliseconds."""
        seconds = []
        for _ in range(READS):
            await self.write(1)
            seconds.append(await self.read())
        found, read = (1e3 * statistics.median(each) for each in zip(*seconds, strict=True))
        return found, read

    async def look(self, when: str) -> list[Figure]:
        """Print what a read costs now, and what the outbox takes after a vacuum."""
        await self.session.execute("vacuum realtime.outbox")
        found, read = await self.read_some()
        table, indexes = await self.session.fetchrow(
            "select pg_table_size('realtime.outbox'), pg_indexes_size('realtime.outbox')"
        )
        print(
            f"  {when:<28} a batch of one change: found in {found:4.2f} ms, read in {read:4.2f} ms;"
            f" table {table / 2**20:5.1f} MiB, indexes {indexes / 2**20:5.1f} MiB"
        )
        return [
            Figure(f"{when}: a batch of one change is found in", found, "ms"),
            Figure(f"{when}: it is read in", read, "ms"),
            Figure(f"{when}: table of the outbox", table / 2**20, "MiB"),
            Figure(f"{when}: indexes of the outbox", indexes / 2**20, "MiB"),
        ]


async def measure() -> list[Figure]:
    """Print reads and sizes before, during and after a long transaction."""
    found: list[Figure] = []
    print(f"outbox, {FINISHED:,} changes published and deleted before each line:")
    with tempfile.TemporaryDirectory(prefix="realtime-bench-") as name:
        async with _outbox(Path(name)) as (outbox, late):
            for when in ("before", "before, once more"):
                await outbox.fill()
                found += await outbox.look(when)
            transaction = late.transaction()
            await transaction.start()
            await late.execute("insert into items (note) values ('late')")
            for when in ("a long transaction is open", "it is still open"):
                await outbox.fill()
                found += await outbox.look(when)
            await transaction.commit()
            for when in ("it has ended", "once more", "and once more"):
                await outbox.fill()
                found += await outbox.look(when)
    return found


@asynccontextmanager
async def _outbox(directory: Path) -> AsyncIterator[tuple[Outbox, Any]]:
    """The outbox, and a session for the long transaction."""
    async with postgres(directory, settings=SETTINGS) as server:
        session, late = await asyncpg.connect(server.url), await asyncpg.connect(server.url)
        await session.execute("create table items (id bigserial primary key, note text)")
        database = Database(Project(database_url=server.url))
        await Catalogue(database).enable(Table("public", "items"), list(Event), None, 1_048_576)
        reader = await connect(server.url)
        feed = Feed(reader)
        await feed.resume()
        try:
            yield Outbox(session, feed, OutboxCleanup(database)), late
        finally:
            await database.close()
            for connection in (reader, session, late):
                await connection.close()
