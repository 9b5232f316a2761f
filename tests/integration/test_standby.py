"""When a notifier that does not lead is ready: it could lead, and somebody else is known to.

A rollout ends only with notifiers that are ready, so what keeps one from leading must show here.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from notifier.leadership.timings import LeadershipTimings
from notifier.timings import Timings
from realtime.postgres.migrations import migration_sql
from realtime.settings.config import Settings
from tests.clean_log import logged
from tests.docs_fixture import section
from tests.gateway_fixture import eventually
from tests.notifier_fixture import (
    PROJECT,
    Notifier,
    Witness,
    insert,
    lead,
    notifier_with_a_port,
    project_at,
    session,
    settings_at,
    witness,
)
from tests.schema_fixture import psql
from tests.servers import throw_away_valkey
from tests.stranger_fixture import as_role, roles

RIGHTS = re.search(r"`(~realtime:\*[^`]*)`", section("docs/operations.md", "Redis"))
PASSWORD = "of-no-use"
DOUBT_SECONDS = 2.0


def impatient(settings: Settings) -> AbstractAsyncContextManager[Notifier]:
    """A notifier whose doubts come soon."""
    return notifier_with_a_port(settings, Timings(leadership=LeadershipTimings(doubt_seconds=DOUBT_SECONDS)))


@pytest.fixture
async def weak(orders_url: str) -> AsyncIterator[str]:
    """The same database, for an ordinary role."""
    async with roles(orders_url, weak=""):
        yield as_role(orders_url, "weak")


@pytest.fixture
async def settings(orders_url: str, redis_url: str) -> Settings:
    return settings_at(redis_url, demo=project_at(orders_url))


def with_password(redis_url: str, password: str, user: str = "") -> str:
    return re.sub("//.*@", f"//{user}:{password}@", redis_url)


@pytest.mark.standalone
async def test_a_standby_whose_redis_password_is_wrong_is_never_ready(
    tmp_path: Path, orders_url: str
) -> None:
    async with throw_away_valkey(tmp_path) as redis:
        right = settings_at(redis.url, demo=project_at(orders_url))
        wrong = settings_at(with_password(redis.url, "wrong"), demo=project_at(orders_url))
        async with impatient(right) as leader:
            await eventually(leader.is_ready)
            async with impatient(wrong) as standby:
                await standby.tells("demo: could not lead, since Redis does not do what it must")
                await standby.is_never_ready(2 * DOUBT_SECONDS)
            async with impatient(right) as standby:
                await eventually(standby.is_ready)


@pytest.mark.standalone
async def test_a_wrong_redis_password_shows_also_before_the_first_table_is_enabled(
    tmp_path: Path, database_url: str
) -> None:
    async with throw_away_valkey(tmp_path) as redis:
        wrong = settings_at(with_password(redis.url, "wrong"), demo=project_at(database_url))
        async with impatient(wrong) as notifier:
            await notifier.tells("demo: could not lead")
            await notifier.is_never_ready(2 * DOUBT_SECONDS)


@pytest.mark.standalone
async def test_one_that_does_not_see_redis_leaves_the_lead_to_one_that_does(
    tmp_path: Path, orders_url: str, writer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with throw_away_valkey(tmp_path) as redis, AsyncExitStack() as first:
        right = settings_at(redis.url, demo=project_at(orders_url))
        wrong = settings_at(with_password(redis.url, "wrong"), demo=project_at(orders_url))
        leader = await first.enter_async_context(impatient(right))
        await eventually(leader.is_ready)
        async with impatient(wrong) as blind, impatient(right) as standby:
            await blind.tells("demo: could not lead")
            await eventually(standby.is_ready)
            await first.aclose()
            await eventually(lambda: len(logged(caplog, "leader_elected")) == 2)
            await eventually(standby.is_ready)
            assert not await blind.is_ready()


@pytest.mark.standalone
@pytest.mark.parametrize(
    "case", ["-evalsha -eval", "-spublish", "resetchannels", "-zadd", "replica", "maxmemory"]
)
async def test_a_redis_that_does_not_do_what_a_leader_needs_makes_a_standby_unready(
    tmp_path: Path, orders_url: str, case: str
) -> None:
    assert RIGHTS is not None
    async with throw_away_valkey(tmp_path) as server, Redis.from_url(server.url) as redis:
        for user, more in (("well", ""), ("less", case if case.startswith(("-", "reset")) else "")):
            words = [user, "on", f">{PASSWORD}", *RIGHTS[1].split(), *more.split()]
            await redis.execute_command("ACL SETUSER", *words)
        well, less = (
            settings_at(with_password(server.url, PASSWORD, user), demo=project_at(orders_url))
            for user in ("well", "less")
        )
        async with impatient(well) as leader:
            await eventually(leader.is_ready)
            if case in ("replica", "maxmemory"):
                async with impatient(less) as standby:
                    await eventually(standby.is_ready)
                    command = (
                        ("replicaof", "127.0.0.1", 1) if case == "replica" else ("config", "set", case, 1)
                    )
                    await redis.execute_command(*command)
                    await standby.tells("demo: could not lead")
            else:
                async with impatient(less) as standby:
                    await standby.tells("demo: could not lead")
                    await standby.is_never_ready(DOUBT_SECONDS)
                    await eventually(leader.is_ready)


async def test_a_standby_that_may_not_use_the_schema_is_not_ready(
    settings: Settings, orders_url: str, weak: str, writer: Any
) -> None:
    as_weak = settings_at(settings.redis_url, demo=project_at(weak))
    async with impatient(settings) as leader, impatient(as_weak) as standby:
        await eventually(leader.is_ready)
        await standby.tells("demo: failed, and is tried again: forbidden: role weak ")
        await standby.is_never_ready(DOUBT_SECONDS)
        assert "failed" not in await psql(orders_url, migration_sql("weak"))
        await eventually(standby.is_ready)
    await writer.execute("revoke update on realtime.silent_until from weak")
    async with impatient(settings) as leader, impatient(as_weak) as standby:
        await eventually(leader.is_ready)
        await standby.tells("demo: failed, and is tried again: forbidden: role weak ")
        await standby.is_never_ready(DOUBT_SECONDS)


async def test_a_standby_that_could_not_bring_the_schema_up_to_date_is_not_ready(
    settings: Settings, orders_url: str, weak: str, writer: Any
) -> None:
    """Else an upgrade could end with nobody who can lead."""
    as_weak = settings_at(settings.redis_url, demo=project_at(weak))
    assert "failed" not in await psql(orders_url, migration_sql("weak"))
    async with impatient(settings) as leader:
        await eventually(leader.is_ready)
        await writer.execute("update realtime.version set version = version - 1")
        async with impatient(as_weak) as standby:
            await standby.tells("demo: failed, and is tried again: forbidden: role weak ")
            await standby.is_never_ready(DOUBT_SECONDS)
            await writer.execute("update realtime.version set version = version + 1")
            await eventually(standby.is_ready)


async def test_where_nobody_is_known_to_lead_and_the_lead_is_taken_nobody_is_ready(
    settings: Settings, orders_url: str
) -> None:
    async with session(orders_url, application_name="realtime notifier another") as holder:
        pid = await lead(holder)
        async with impatient(settings) as notifier:
            await notifier.tells(f"^demo: nobody is known to lead; backend {pid} of the database leads")
            await notifier.is_never_ready(DOUBT_SECONDS)
            await holder.close()
            await eventually(notifier.is_ready)


@pytest.mark.standalone
async def test_a_short_break_of_redis_leaves_a_standby_ready(
    tmp_path: Path, orders_url: str, writer: Any
) -> None:
    """Wait until both are ready again, where doubts come after an hour."""
    patient = Timings(leadership=LeadershipTimings(doubt_seconds=3600.0))
    async with AsyncExitStack() as first:
        redis = await first.enter_async_context(throw_away_valkey(tmp_path))
        settings = settings_at(redis.url, demo=project_at(orders_url))
        async with (
            notifier_with_a_port(settings, patient) as leader,
            notifier_with_a_port(settings, patient) as standby,
        ):
            await eventually(leader.is_ready)
            await eventually(standby.is_ready)
            async with witness(settings) as seen:
                await insert(writer, 1)
                await seen.sees(1)
            await first.aclose()

            async def one_is_not() -> bool:
                return [await leader.is_ready(), await standby.is_ready()].count(False) == 1

            await eventually(one_is_not)
            async with throw_away_valkey(tmp_path, port=redis.port):
                await eventually(leader.is_ready)
                await eventually(standby.is_ready)


async def test_who_stands_by_knows_the_leader_and_publishes_when_it_is_gone(
    settings: Settings, seen: Witness, writer: Any
) -> None:
    async with AsyncExitStack() as first:
        leader = await first.enter_async_context(impatient(settings))
        await eventually(leader.is_ready)
        async with impatient(settings) as standby:
            await eventually(standby.is_ready)
            await first.aclose()
            await insert(writer, 1)
            await seen.sees(1)
            await eventually(standby.is_ready)
    assert (PROJECT, await seen.ids()) == ("demo", [1])
