"""A Postgres that refuses some roles and databases, reached by good ways and by bad ones.

Used by the tests of what is told when a database cannot be reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop

from realtime.errors import Unavailable
from realtime.postgres.connector import AWAY, Connector
from tests.broken_servers import (
    Certificates,
    answer_http,
    hang_up,
    listening,
    postgres_tls_front,
    redis_tls_front,
    say_nothing,
)
from tests.ports import free_port
from tests.postgres_fixture import open_session
from tests.servers import throw_away_postgres

PASSWORD = "s3same"
PATIENCE = 1.0  # for a server that is silent
HBA = "host all refused_by_hba all reject\n"
ROLES = f"""
    create role app login password '{PASSWORD}';
    create role refused_by_hba login password '{PASSWORD}';
    create role no_login nologin password '{PASSWORD}';
    create role full login password '{PASSWORD}' connection limit 0;
    create database closed allow_connections false;
    create database guarded;
    revoke connect on database guarded from public;
"""


@dataclass
class Stage:
    """A Postgres, and its port behind TLS of every sort."""

    superuser_url: str
    certificates: Certificates
    ports: dict[str, int]

    def url(
        self, where: str = "postgres", *, user: str = f"app:{PASSWORD}", to: str = "postgres", **more: str
    ):
        host = more.pop("at", "127.0.0.1")
        query = "&".join(f"{name}={value}" for name, value in more.items())
        return f"postgresql://{user}@{host}:{self.ports[where]}/{to}?{query}"


@asynccontextmanager
async def broken_postgres(directory: Path) -> AsyncIterator[Stage]:
    """Run a Postgres that refuses some, and what stands in front of it."""
    own = Certificates(directory)
    async with throw_away_postgres(directory / "server") as server:
        hba = directory / "server" / "postgres" / "data" / "pg_hba.conf"
        hba.write_text(HBA + hba.read_text())
        async with open_session(server.url) as session:
            for statement in filter(str.strip, ROLES.split(";")):
                await session.execute(statement)
            await session.execute("select pg_reload_conf()")
        async with (
            listening(say_nothing) as silent,
            listening(answer_http) as http,
            listening(hang_up) as hangs_up,
            postgres_tls_front(server.port, own.server_context()) as tls,
            postgres_tls_front(server.port, own.server_context(expired=True)) as expired,
            postgres_tls_front(server.port, own.server_context(wants_client=True)) as wants_client,
            redis_tls_front(server.port, own.server_context()) as direct,
        ):
            ports = {
                "postgres": server.port,
                "nobody": free_port(),
                "silent": silent,
                "http": http,
                "hangs up": hangs_up,
                "tls": tls,
                "expired": expired,
                "wants client": wants_client,
                "direct": direct,
            }
            yield Stage(server.url, own, ports)


async def open_and_close(url: str) -> None:
    session = await Connector(url).open(PATIENCE, {"application_name": "realtime"})
    await session.close(timeout=30)


async def reason_of(url: str, loop: str) -> str:
    """Why no session can be opened, on a loop of its own."""

    def attempt() -> str:
        factory = uvloop.new_event_loop if loop == "uvloop" else None
        with asyncio.Runner(loop_factory=factory) as runner, pytest.raises(Unavailable) as raised:
            runner.run(open_and_close(url))
        assert raised.value.message == AWAY
        return raised.value.reason

    return await asyncio.to_thread(attempt)
