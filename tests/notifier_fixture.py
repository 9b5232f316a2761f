"""A notifier in this process, tables to write to, and history in Redis as the witness of what came."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import asyncpg

from gateway.broker import Broker
from notifier import app
from notifier.feed.bounds import DEFAULT_BOUNDS, FeedBounds
from notifier.feed.feed import Feed
from notifier.feed.feed_settings import FeedSettings
from notifier.feed.publication_store import PublicationStore
from notifier.feed.publisher import Publisher
from notifier.feed.timings import FeedTimings
from notifier.timings import DEFAULTS, Timings
from realtime.channels import Event, Table
from realtime.postgres.catalogue import Catalogue
from realtime.postgres.pool import Database
from realtime.process.reload import Reloads
from realtime.publications import Position
from realtime.redis.client import connect
from realtime.settings.config import Project, Settings
from tests import topics
from tests.change_stream import DEADLINE
from tests.expressions import value
from tests.gateway_fixture import SECRET, eventually, stays
from tests.ports import free_port

PROJECT = "demo"
ORDERS = Table("public", "orders")
HOUR = 3600.0  # a slow poll that no test lives to see

LISTENING = """
    select pid from pg_stat_activity
    where datname = current_database() and application_name like 'realtime notifier%'
"""


def project_at(database_url: str, **more: Any) -> Project:
    return Project(database_url=database_url, jwt_secret=SECRET, **more)


def settings_at(redis_url: str, poll_seconds: float = HOUR, **projects: Project) -> Settings:
    """Settings with room for all of a test in history."""
    return Settings(
        redis_url=redis_url, poll_seconds=poll_seconds, history_entries=2_000_000, projects=projects
    )


@asynccontextmanager
async def notifier(
    settings: Settings,
    reloads: Reloads | None = None,
    internal_port: int | None = None,
    timings: Timings = DEFAULTS,
) -> AsyncIterator[asyncio.Task[None]]:
    """Run a notifier while the block does; it must not end by itself."""
    task = asyncio.create_task(
        app.run(settings, "127.0.0.1", internal_port, reloads, timings), name="notifier"
    )
    try:
        yield task
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()


class Notifier:
    """A notifier as its internal port shows it."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/readyz"

    async def reason(self) -> str | None:
        """Why it is not ready; None when it is."""
        async with aiohttp.ClientSession() as http:
            try:
                async with http.get(self._url) as answer:
                    told = (await answer.json()).get("reason")
                    assert (answer.status == 200) is (told is None)
                    return None if told is None else str(told)
            except aiohttp.ClientConnectionError:
                return "it does not run yet"

    async def is_ready(self) -> bool:
        return await self.reason() is None

    async def tells(self, pattern: str) -> None:
        """Wait until it is not ready, for such a reason."""

        async def told() -> bool:
            return bool(re.search(pattern, await self.reason() or ""))

        await eventually(told)

    async def is_never_ready(self, seconds: float) -> None:
        async def is_not() -> bool:
            return not await self.is_ready()

        await stays(is_not, seconds)


@asynccontextmanager
async def notifier_with_a_port(settings: Settings, timings: Timings = DEFAULTS) -> AsyncIterator[Notifier]:
    port = free_port()
    async with notifier(settings, internal_port=port, timings=timings):
        yield Notifier(port)


@asynccontextmanager
async def session(database_url: str, **settings: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database_url, server_settings=settings)
    try:
        yield connection
    finally:
        await connection.close(timeout=30)


async def enable(database_url: str, table: Table = ORDERS, max_change_bytes: int = 1_048_576) -> None:
    """Switch realtime on for a table, which is made unless it is there."""
    async with session(database_url) as connection:
        await connection.execute(
            f"create table if not exists {table.schema}.{table.name} (id bigint primary key, note text)"
        )
    database = Database(project_at(database_url))
    try:
        await Catalogue(database).enable(table, list(Event), None, max_change_bytes)
    finally:
        await database.close()


@dataclass
class Witness:
    """What history in Redis says was published."""

    broker: Broker
    project: str = PROJECT

    @property
    def publications(self) -> PublicationStore:
        """Redis as a notifier writes it."""
        return PublicationStore(self.broker.store)

    async def offset(self, table: Table = ORDERS) -> int:
        return (await self.broker.position(self.project, table.topic)).offset

    async def changes(self, table: Table = ORDERS) -> list[dict[str, Any]]:
        """Every change since the beginning, in order; fails when one is missing."""
        now = await self.broker.position(self.project, table.topic)
        missed = await topics.missed(self.broker, self.project, table.topic, Position(now.epoch, 0), now)
        assert missed is not None, "history does not reach back"
        return [json.loads(b"{" + line[1:] + b"}") for one in missed for line in one.lines]

    async def ids(self, table: Table = ORDERS) -> list[int]:
        return [change["data"]["id"] for change in await self.changes(table)]

    async def sees(self, count: int, table: Table = ORDERS, deadline: float = DEADLINE) -> None:
        """Wait until so many changes were published."""

        async def there() -> bool:
            return await self.offset(table) >= count

        await eventually(there, deadline)


@asynccontextmanager
async def witness(settings: Settings, project: str = PROJECT) -> AsyncIterator[Witness]:
    async with connect(settings.redis_url) as store:
        yield Witness(Broker(store, settings), project)


async def insert(connection: Any, *ids: int, table: Table = ORDERS) -> None:
    """Insert rows, each in a transaction of its own."""
    for row_id in ids:
        await connection.execute(f"insert into {table.name} values ($1, 'note')", row_id)


async def position(seen: Witness, table: Table = ORDERS) -> Position:
    return await seen.broker.position(PROJECT, table.topic)


async def begins_anew(seen: Witness, before: Position, table: Table = ORDERS) -> None:
    """Wait for another epoch, in which a client's `since` is not taken for something else."""

    async def anew() -> bool:
        return (await position(seen, table)).epoch != before.epoch

    await eventually(anew)
    now = await position(seen, table)
    assert await topics.missed(seen.broker, PROJECT, table.topic, before, now) is None


def publisher_of(
    settings: Settings,
    publications: PublicationStore,
    connection: Any,
    timings: FeedTimings = DEFAULTS.feed,
    bounds: FeedBounds = DEFAULT_BOUNDS,
) -> Publisher:
    of_demo = FeedSettings.of(settings, PROJECT)
    return Publisher(of_demo, Feed(connection, timings, bounds), publications, lambda reason: None, timings)


async def asleep(connection: Any) -> None:
    """Wait until the database's notifier listens, and has given back what silences the writers."""

    async def quiet() -> bool:
        sessions = await connection.fetchval(f"select count(*) from ({LISTENING}) as s")
        return sessions == 2 and not await connection.fetchval(_AWAKE)

    await eventually(quiet)


_AWAKE = "select to_timestamp(last_value) > clock_timestamp() from realtime.silent_until"


async def awake(connection: Any) -> None:
    """Wait until the database's notifier has silenced the writers."""

    async def silenced() -> bool:
        return bool(await connection.fetchval(_AWAKE))

    await eventually(silenced)


async def lead(connection: Any, lock: int = 1) -> int:
    """Make a session the leader, as one of a notifier that hangs would be; return its pid."""
    await connection.execute("select pg_advisory_lock($1::bigint)", lock)
    await connection.execute(
        "update realtime.feed set leader_pid = pg_backend_pid(), leader_lock = $1,"
        " leader_role = (select oid from pg_roles where rolname = session_user)",
        lock,
    )
    return int(await connection.fetchval("select pg_backend_pid()"))


def late_changes(project: str = PROJECT) -> float:
    return value("realtime_notifier_late_changes_total", project=project)
