"""`realtime dev`: embedded Postgres and Valkey, a notifier, gateways, and one demo project.

All data is in the data directory and is kept. `run` announces when changes are delivered, and stops every
process at the end.
"""

from __future__ import annotations

import asyncio
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from realtime.auth.tokens import SERVICE_ROLE, issue
from realtime.channels import Event, Table
from realtime.dev import directory as files
from realtime.dev import process
from realtime.dev.errors import DevError
from realtime.dev.postgres import EmbeddedPostgres, postgres, postgres_program
from realtime.dev.valkey import EmbeddedValkey, valkey
from realtime.postgres.catalogue import Catalogue
from realtime.postgres.connector import connector_for
from realtime.postgres.pool import Database
from realtime.process.supervisor import processes
from realtime.resources import packaged_text
from realtime.settings.config import Project, load

PROJECT = "demo"
TABLES = ("users", "orders", "sessions")
TOKEN_SECONDS = 30 * 24 * 3600
READY_SECONDS = 60.0
OPEN_SECONDS = 30.0  # timeout for a session, on a busy machine
CONFIG_FILE = "realtime.toml"


class Ready(msgspec.Struct, frozen=True):
    """Addresses and tokens of the started service."""

    url: str
    token: str
    service_token: str
    database_url: str
    redis_url: str
    dashboard: str  # with the project and the service token in its fragment, which is sent to no server


WhenReady = Callable[[Ready], Coroutine[Any, Any, None]]


async def run(data_dir: Path, port: int, nodes: int, when_ready: WhenReady) -> None:
    """Run until cancelled; once all is ready, `when_ready` runs beside it.

    Raises DevError, also if one of the processes ends by itself.
    """
    with files.locked(data_dir):
        _refuse_taken_ports(range(port, port + nodes))
        async with postgres(data_dir) as database, valkey(data_dir) as redis:
            database_url = await _create_database(database.url)
            secret = files.secret(data_dir, "jwt-secret")
            config = files.create(data_dir) / CONFIG_FILE
            files.write_private(config, _configuration(redis.url, database_url, secret))
            settings = load(config.read_text(), {})
            await _prepare(settings.projects[PROJECT])
            commands = [
                ["notifier"],
                *(["gateway", "--host", files.HOST, "--port", str(port + i)] for i in range(nodes)),
            ]
            async with processes([[*command, "--config", str(config)] for command in commands]):
                ready = _ready(port, database_url, redis.url, secret)
                await _wait_until_delivering(ready, range(port, port + nodes))
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(when_ready(ready), name="when ready")
                    await _until_a_server_ends(database, redis)


def _refuse_taken_ports(ports: range) -> None:
    for port in ports:
        if not files.is_free(port):
            raise DevError(f"port {port} is taken; choose another with --port")


async def _create_database(server_url: str) -> str:
    connection = await connector_for(server_url).open(OPEN_SECONDS, {})
    try:
        if not await connection.fetchval("select true from pg_database where datname = $1", PROJECT):
            await connection.execute(f"create database {PROJECT}")
    finally:
        await connection.close()
    return server_url.rpartition("/")[0] + f"/{PROJECT}"


def _configuration(redis_url: str, database_url: str, secret: str) -> str:
    return (
        "# Written by `realtime dev` at each start.\n"
        f'redis_url = "{redis_url}"\n'
        "drain_seconds = 0\n"
        "demo_page = true\n\n"
        f"[projects.{PROJECT}]\n"
        f'database_url = "{database_url}"\n'
        f'jwt_secret = "{secret}"\n'
        'allowed_origins = ["*"]\n'
    )


async def _prepare(project: Project) -> None:
    """Create the demo tables, and enable realtime on them."""
    database = Database(project)
    try:
        async with database.connection() as connection:
            await connection.execute(packaged_text(__package__, "demo.sql"))
        catalogue = Catalogue(database)
        enabled = {one.table for one in await catalogue.enabled()}
        for name in TABLES:
            if Table("public", name) not in enabled:
                await catalogue.enable(
                    Table("public", name), list(Event), None, project.limits.max_change_bytes
                )
    finally:
        await database.close()


def _ready(port: int, database_url: str, redis_url: str, secret: str) -> Ready:
    now = time.time()
    url = f"http://{files.HOST}:{port}"
    service_token = issue(secret, PROJECT, "admin", SERVICE_ROLE, TOKEN_SECONDS, now)
    return Ready(
        url=url,
        token=issue(secret, PROJECT, "alice", "authenticated", TOKEN_SECONDS, now),
        service_token=service_token,
        database_url=database_url,
        redis_url=redis_url,
        dashboard=f"{url}/dashboard#project={PROJECT}&token={service_token}",
    )


async def _wait_until_delivering(ready: Ready, ports: range) -> None:
    """Wait until every gateway is ready and the notifier reads the database."""
    headers = {"Authorization": f"Bearer {ready.service_token}"}
    async with aiohttp.ClientSession(headers=headers) as http:

        async def delivering() -> bool:
            for port in ports:
                base = f"http://{files.HOST}:{port}"
                try:
                    async with http.get(f"{base}/readyz") as answer:
                        if answer.status != 200:
                            return False
                    async with http.get(f"{base}/projects/{PROJECT}/realtime/status") as answer:
                        if (await answer.json())["status"] != "ok":
                            return False
                except aiohttp.ClientError:
                    return False
            return True

        if not await process.until(delivering, READY_SECONDS):
            raise DevError(f"not ready after {READY_SECONDS:.0f} seconds; the log says what is wrong")


async def _until_a_server_ends(database: EmbeddedPostgres, redis: EmbeddedValkey) -> None:
    """Raise DevError when Postgres or Valkey ends for any reason."""
    waits = {asyncio.create_task(server.wait()): server for server in (database, redis)}
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    raise DevError(f"{waits[done.pop()]!r} has ended")


def listen_command(ready: Ready, data_dir: Path) -> str:
    """Return a command that prints changes; it works in any directory."""
    program, config = Path(sys.argv[0]).absolute(), (data_dir / CONFIG_FILE).absolute()
    words = (program, "listen", "table:users", "--url", ready.url, "--config", config)
    return shlex.join(map(str, words))


def psql_command(ready: Ready) -> str:
    """Return a command that inserts a row; it uses the embedded psql if no psql is installed."""
    psql = shutil.which("psql") or str(postgres_program("psql"))
    # A person pastes this command; the program never runs it.
    return f"{psql} '{ready.database_url}' -c \"insert into users (name) values ('Rahul')\""  # noqa: S608
