"""Redis or Postgres is away for a while, as users meet it: clients that stay, writers that go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from realtime.auth.tokens import SERVICE_ROLE
from realtime.dev.postgres import Mode
from tests.acceptance.conftest import Stage
from tests.acceptance.followers import LAST, Follower, Writer, expect_everything_once, finish
from tests.acceptance.programs import START_SECONDS, client_of, psql
from tests.acceptance.served import Served, get, is_ready, served, status
from tests.fleet_fixture import crowd
from tests.gateway_fixture import Client, eventually, token_for
from tests.ports import free_port
from tests.servers import throw_away_postgres, throw_away_valkey

AWAY_SECONDS = 8  # by what `/status` says: so old is the oldest change that waits
KEEPS_ALL: dict[str, str] = {"appendonly": "yes"}
FORGETS: dict[str, str] = {}
TABLE = "create table messages (id bigserial primary key, body text)"


@asynccontextmanager
async def followed(parts: Served, count: int) -> AsyncIterator[tuple[asyncio.TaskGroup, list[Follower]]]:
    """Clients that follow, spread over the nodes; the block ends when all have heard the last change."""
    followers = [Follower([parts.urls[n % len(parts.urls)]]) for n in range(count)]
    async with asyncio.TaskGroup() as tasks:
        for follower in followers:
            tasks.create_task(follower.follow(), name="follower")
        await eventually(lambda: all(follower.since for follower in followers), START_SECONDS)
        yield tasks, followers


async def statuses(url: str) -> dict[str, int]:
    """What each request is answered with."""
    headers = {"Authorization": f"Bearer {token_for(role=SERVICE_ROLE)}"}
    requests: dict[str, dict[str, Any]] = {
        "enable": {"table_name": "messages"},
        "broadcast": {"channel": "room:a", "payload": "without Postgres"},
    }
    paths = ("status", "tables", "presence", "connections")
    found = {path: (await get(f"{url}/projects/demo/realtime/{path}"))[0] for path in paths}
    found |= {path: (await get(f"{url}/{path}"))[0] for path in ("healthz", "readyz")}
    async with aiohttp.ClientSession(headers=headers) as http:
        for path, body in requests.items():
            async with http.post(f"{url}/projects/demo/realtime/{path}", json=body) as answer:
                found[path] = answer.status
    return found


async def lag(url: str) -> tuple[int, float]:
    notifier = (await status(url))["notifier"]
    return notifier["pending"], notifier["lag_seconds"]


async def all_is_well(parts: Served) -> bool:
    return all([await is_ready(url) and (await status(url))["status"] == "ok" for url in parts.urls])


@dataclass
class Aftermath:
    """What an outage left: the last change was made after it, and every follower has heard that."""

    parts: Served
    followers: list[Follower]
    writers: list[Writer]
    member: Client  # present under `room:a`


@asynccontextmanager
async def outage_of_redis(
    directory: Path, database_url: str, memory: dict[str, str]
) -> AsyncIterator[Aftermath]:
    """Stop Redis under load until changes are AWAY_SECONDS late, then start it with what it remembers."""
    await psql(database_url, TABLE)
    port, writers = free_port(), [Writer(f"writer {n}") for n in range(3)]
    async with AsyncExitStack() as servers, AsyncExitStack() as stack:
        redis = await servers.enter_async_context(throw_away_valkey(directory / "valkey", memory, port))
        stage = Stage(directory, database_url, redis.url)
        stage.write("presence_ttl_seconds = 4")
        parts = await stack.enter_async_context(served(stage, nodes=2))
        tasks, followers = await stack.enter_async_context(followed(parts, 6))
        member = await stack.enter_async_context(client_of(parts.urls[1], token_for()))
        await member.ask(type="presence", channel="room:a", state={"n": 1}, ref=1)
        writing = [tasks.create_task(writer.write(database_url), name=writer.name) for writer in writers]
        await eventually(lambda: all(len(follower.heard) > 50 for follower in followers))
        await redis.stop()
        before = [len(writer.written) for writer in writers]
        for url in parts.urls:
            await expect_what_works_without_redis(url, member)
        await expect_growing_lag(parts.url)
        await eventually(lambda: have_written(writers, before, 50))
        await servers.enter_async_context(throw_away_valkey(directory / "valkey", memory, port))
        await eventually(lambda: all_is_well(parts), START_SECONDS)
        await eventually(lambda: has_caught_up(parts.url), START_SECONDS)
        await finish(database_url, writers, writing)
        await have_the_last(followers)
        yield Aftermath(parts, followers, writers, member)


def have_written(writers: list[Writer], before: list[int], rows: int) -> bool:
    """Whether each has written so many since then."""
    return all(len(writer.written) > count + rows for writer, count in zip(writers, before, strict=True))


async def expect_growing_lag(url: str) -> None:
    async def is_late(pending: int, seconds: float) -> tuple[int, float] | None:
        """What waits, as soon as it is more, and older."""
        later = await lag(url)
        return later if later[0] > pending and later[1] > seconds else None

    late = await eventually(lambda: is_late(0, 0))
    await eventually(lambda: is_late(late[0], max(late[1], AWAY_SECONDS)), START_SECONDS)


async def expect_what_works_without_redis(url: str, member: Client) -> None:
    await eventually(lambda: is_not_ready(url))
    assert await statuses(url) == {
        **{"healthz": 200, "status": 200, "tables": 200, "enable": 200},
        **{"readyz": 503, "broadcast": 503, "presence": 503, "connections": 503},
    }
    assert (await status(url))["status"] == "degraded"
    assert (await member.ask(type="ping"))["type"] == "pong"
    refused = await member.ask(type="broadcast", channel="room:a", payload=1, ref=2)
    assert refused["code"] == "unavailable"


async def is_not_ready(url: str) -> bool:
    return (await get(f"{url}/readyz"))[0] == 503


async def has_caught_up(url: str) -> bool:
    return (await lag(url))[1] < 1


async def have_the_last(followers: list[Follower]) -> None:
    await eventually(lambda: all(follower.heard[-1] == LAST for follower in followers), START_SECONDS)


@pytest.mark.standalone
async def test_a_redis_that_was_away_costs_nobody_anything(tmp_path: Path, database_url: str) -> None:
    async with outage_of_redis(tmp_path, database_url, KEEPS_ALL) as left:
        expect_everything_once(left.followers, left.writers)
        assert not any(follower.resyncs for follower in left.followers)
        assert {follower.arrivals for follower in left.followers} == {1}, "nobody was closed"
        assert (await left.member.ask(type="ping"))["type"] == "pong"


@pytest.mark.standalone
async def test_after_a_redis_that_forgot_all_clients_know_and_miss_nothing_more(
    tmp_path: Path, database_url: str
) -> None:
    async with outage_of_redis(tmp_path, database_url, FORGETS) as left:
        for follower in left.followers:
            expect_a_hole_that_was_told(follower, left.writers)
        assert {follower.arrivals for follower in left.followers} == {1}, "nobody was closed"
        async with client_of(left.parts.url, token_for()) as client:
            assert (await client.subscribe("table:messages"))["enabled"] is True
            seen = await crowd(client, "presence:room:a")
            await seen.becomes(lambda: seen.ids == {left.member.connected["connection_id"]})


def expect_a_hole_that_was_told(follower: Follower, writers: list[Writer]) -> None:
    """Everything until the first resync, and everything from the last one on."""
    assert follower.resyncs, "a loss that nobody told of"
    before, after = follower.heard[: follower.resyncs[0]], follower.heard[follower.resyncs[-1] :]
    for writer in writers:
        first, last = writer.mine(before), writer.mine(after)
        assert first == writer.written[: len(first)]
        assert last == writer.written[len(writer.written) - len(last) :]
        assert last, "it wrote long after Redis was back"
    assert after[-1] == LAST


async def test_a_postgres_that_crashes_costs_no_client_anything(tmp_path: Path, redis_url: str) -> None:
    # What is committed must outlive the crash.
    durable, place, port = {"synchronous_commit": "on"}, tmp_path / "postgres", free_port()
    async with AsyncExitStack() as servers, AsyncExitStack() as stack:
        postgres = await servers.enter_async_context(throw_away_postgres(place, durable, port))
        await psql(postgres.url, TABLE)
        stage = Stage(tmp_path, postgres.url, redis_url)
        stage.write()
        parts = await stack.enter_async_context(served(stage, nodes=2))
        tasks, followers = await stack.enter_async_context(followed(parts, 6))
        talker = await stack.enter_async_context(client_of(parts.url, token_for()))
        await talker.subscribe("room:a")
        writing = [tasks.create_task(insist(postgres.url, f"writer {n}"), name="writer") for n in range(3)]
        await eventually(lambda: all(len(follower.heard) > 50 for follower in followers))
        await postgres.stop(Mode.IMMEDIATE)
        for url in parts.urls:
            await expect_what_works_without_postgres(url)
        assert (await talker.hear())["payload"] == "without Postgres"
        await servers.enter_async_context(throw_away_postgres(place, durable, port))
        await eventually(lambda: all_is_well(parts), START_SECONDS)
        before = max(len(follower.heard) for follower in followers)
        await eventually(lambda: min(len(follower.heard) for follower in followers) > before + 50)
        for writer in writing:
            writer.cancel()
        await asyncio.wait(writing)
        await finish(postgres.url, [], [])
        await have_the_last(followers)
        for follower in followers:
            await expect_the_rows(postgres.url, follower)
        assert not any(follower.resyncs for follower in followers)
        assert {follower.arrivals for follower in followers} == {1}, "nobody was closed"


async def expect_what_works_without_postgres(url: str) -> None:
    assert await statuses(url) == {
        **{"healthz": 200, "readyz": 200, "status": 200, "broadcast": 202},
        **{"presence": 200, "connections": 200, "tables": 503, "enable": 503},
    }
    told = await status(url)
    assert (told["status"], told["notifier"]["pending"], told["notifier"]["lag_seconds"]) == (
        "degraded",
        None,
        None,
    )


async def insist(database_url: str, name: str) -> None:
    """Insert rows until cancelled, whatever is lost meanwhile; the table knows which came in."""
    number = 0
    while True:
        try:
            connection = await asyncpg.connect(database_url)
            try:
                while True:
                    number += 1
                    await connection.execute(
                        "insert into messages (body) values ($1)", f"{name} {number}", timeout=10
                    )
                    await asyncio.sleep(0.01)
            finally:
                connection.terminate()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await asyncio.sleep(0.05)


async def expect_the_rows(database_url: str, follower: Follower) -> None:
    """It heard exactly the rows of the table, those of each writer in their order."""
    rows = (await psql(database_url, "select body from messages order by id")).splitlines()
    assert sorted(follower.heard) == sorted(rows)
    for name in ("writer 0", "writer 1", "writer 2"):
        mine = Writer(name).mine
        assert mine(follower.heard) == mine(rows)
