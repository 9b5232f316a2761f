"""The owner of one project's schema wrecks it: that project stops, says so, and goes on when it is mended.

Real processes, two projects with a database each. The other project's changes arrive all the while.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from realtime.auth.tokens import SERVICE_ROLE
from tests.acceptance.conftest import Stage
from tests.acceptance.programs import Program, client_of, psql
from tests.acceptance.served import enable, get, is_ready, served
from tests.change_stream import DEADLINE
from tests.gateway_fixture import SECRET, Client, token_for
from tests.ports import free_port
from tests.servers import fresh_database, throw_away_postgres
from tests.stranger_fixture import as_role

ROLE = "wrecked_service"
LONGEST_BODY = 2_000  # bytes of `/readyz`, whatever a database says

SAVE = "drop table if exists public.saved; create table public.saved as select * from realtime.feed"
RESTORE = "update realtime.feed set {0} = (select {0} from public.saved)"

# What is done to the schema, and what mends it. `saved` is the feed as it was.
WRECKS = {
    "a token of null": (
        "alter table realtime.feed alter token drop not null; update realtime.feed set token = null",
        RESTORE.format("token"),
    ),
    "a token of 50 MB": (
        "update realtime.feed set token = repeat('x', 50000000)",
        RESTORE.format("token"),
    ),
    "a snapshot that is none": (
        "alter table realtime.feed alter s1 type text using 'no snapshot'",
        "alter table realtime.feed alter s1 type pg_snapshot using s2; " + RESTORE.format("s1"),
    ),
    "a snapshot of another type": (
        "alter table realtime.feed alter s2 type bytea using 'nothing'",
        "alter table realtime.feed alter s2 type pg_snapshot using s1; " + RESTORE.format("s2"),
    ),
    "a batch that is no number": (
        "alter table realtime.feed alter batch type numeric; update realtime.feed set batch = 'NaN'",
        RESTORE.format("batch") + "; alter table realtime.feed alter batch type bigint",
    ),
    "a column of another name": (
        "alter table realtime.feed rename token to mine",
        "alter table realtime.feed rename mine to token",
    ),
    "a column that is gone": (
        "alter table realtime.feed drop column s1",
        "alter table realtime.feed add column s1 pg_snapshot; " + RESTORE.format("s1"),
    ),
    "no row": (
        "delete from realtime.feed",
        "insert into realtime.feed (batch, s1, s2, system_identifier, database_oid, token)"
        " select batch, s1, s2, system_identifier, database_oid, token from public.saved",
    ),
    "rights that were revoked": (
        f"revoke all on realtime.feed from {ROLE}",
        f"grant all on realtime.feed to {ROLE}",
    ),
    "a trigger that raises what is no word": (
        "create function public.wreck() returns trigger language plpgsql as $$"
        " begin raise exception using message = repeat('no ', 10000), errcode = 'ZZZZZ'; end $$;"
        " create trigger wreck before update on realtime.feed for each row execute function public.wreck()",
        "drop function public.wreck cascade",
    ),
    "a mark of nothing": (
        "alter table realtime.mark alter topic drop not null;"
        " insert into realtime.mark (topic, mark) values (null, 'x');"
        " update realtime.feed set token = 'moved away'",
        "delete from realtime.mark where topic is null; " + RESTORE.format("token"),
    ),
}


@dataclass
class Project:
    """A project's database as its owner sees it, and its clients' view of table `messages`."""

    name: str
    database_url: str
    client: Client

    async def write(self, text: str) -> None:
        await psql(self.database_url, f"insert into messages (body) values ('{text}')")

    async def hears(self, text: str) -> None:
        """Wait for a change; `resync` may come before it."""
        async with asyncio.timeout(DEADLINE):
            while True:
                message = await self.client.hear()
                if message["type"] == "realtime" and message["data"]["body"] == text:
                    return


@dataclass
class Pair:
    """The project that is wrecked, and the one beside it."""

    demo: Project
    other: Project
    notifier: Program
    url: str
    internal: str

    async def status(self, project: str) -> str:
        headers = {"Authorization": f"Bearer {token_for(project, role=SERVICE_ROLE)}"}
        address = f"{self.url}/projects/{project}/realtime/status"
        async with aiohttp.ClientSession(headers=headers) as http, http.get(address) as answer:
            body: Any = await answer.json()
            assert answer.status == 200, body
            return str(body["status"])


@pytest.fixture
async def pair(tmp_path: Path, redis_url: str) -> AsyncIterator[Pair]:
    """The service runs as a role that can lose rights. Roles belong to a server, so it is a fresh one."""
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(throw_away_postgres(tmp_path / "postgres"))
        demo_url, other_url = [
            await stack.enter_async_context(fresh_database(postgres.url)) for _ in range(2)
        ]
        await psql(postgres.url, f"create role {ROLE} login createrole password '{ROLE}'")
        for url in (demo_url, other_url):
            await psql(url, f"grant create on database {urlsplit(url).path[1:]} to {ROLE}")
            await psql(url, "create table messages (id bigserial primary key, body text)")
            await psql(url, f"alter table messages owner to {ROLE}")
        stage = Stage(tmp_path, as_role(demo_url, ROLE), redis_url)
        stage.write(
            project=(
                "[projects.other]",
                f"database_url = {json.dumps(as_role(other_url, ROLE))}",
                f"jwt_secret = {json.dumps(SECRET)}",
            )
        )
        internal = free_port()
        parts = await stack.enter_async_context(served(stage, notifier_words=("--internal-port", internal)))
        await enable(parts.url, "messages", "other")
        clients = [
            await stack.enter_async_context(client_of(parts.url, token_for(name), name))
            for name in ("demo", "other")
        ]
        for client in clients:
            await client.subscribe("table:messages")
        yield Pair(
            Project("demo", demo_url, clients[0]),
            Project("other", other_url, clients[1]),
            parts.notifier,
            parts.url,
            f"http://127.0.0.1:{internal}",
        )


@pytest.mark.timeout(600)
async def test_a_wrecked_schema_stops_its_own_project_alone_and_until_it_is_mended(pair: Pair) -> None:
    for name, (wreck, mend) in WRECKS.items():
        print(name)  # noqa: T201 - of the one that fails
        await pair.demo.write(f"before: {name}")
        await pair.demo.hears(f"before: {name}")
        await psql(pair.demo.database_url, f"{SAVE}; {wreck}")
        await pair.demo.write(f"meanwhile: {name}")
        await pair.notifier.does(lambda: _says(pair, "demo: failed, and is tried again"))
        await pair.notifier.does(lambda: _is_degraded(pair))
        await pair.other.write(name)
        await pair.other.hears(name)
        assert await pair.status("other") == "ok", name
        await psql(pair.demo.database_url, mend)
        await pair.demo.hears(f"meanwhile: {name}")
        await pair.notifier.does(lambda: is_ready(pair.internal))
    assert pair.notifier.status is None


async def _says(pair: Pair, reason: str) -> bool:
    """Whether `/readyz` gives a reason that begins so, and is short, and no other project's."""
    status, body = await get(f"{pair.internal}/readyz")
    assert "other" not in body, body
    assert len(body) < LONGEST_BODY, body
    return status == 503 and json.loads(body)["reason"].startswith(reason)


async def _is_degraded(pair: Pair) -> bool:
    """The lease of before lives on for a moment."""
    return await pair.status("demo") == "degraded"


async def test_a_schema_that_is_dropped_under_the_feed_is_waited_for(pair: Pair) -> None:
    await psql(pair.demo.database_url, "drop schema realtime cascade")
    await pair.notifier.tells("feed_state_changed", project="demo", state="waiting for the schema")
    await pair.other.write("meanwhile")
    await pair.other.hears("meanwhile")
    await enable(pair.url, "messages")
    await pair.demo.write("anew")
    await pair.demo.hears("anew")
    assert "part_failed" not in pair.notifier.errors
