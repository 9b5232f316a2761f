"""A partition that comes later is captured too, without anybody doing anything; until then it shows."""

from __future__ import annotations

import pytest

from notifier.timings import Timings
from realtime.settings.config import Settings
from tests.gateway_fixture import Gateway, eventually, running_notifier, token_for

SERVICE = token_for(role="service_role")


@pytest.fixture
async def measures(gateway: Gateway, sql) -> None:
    await sql.execute("create table measures (day date, value int) partition by range (day)")
    await gateway.enable("measures")


@pytest.fixture
def one_project(settings: Settings) -> Settings:
    """A database has one feed, so one project's notifier."""
    return Settings(redis_url=settings.redis_url, projects={"demo": settings.projects["demo"]})


async def status_becomes(gateway: Gateway, status: str) -> None:
    async def reached() -> bool:
        _, body, _ = await gateway.rest("GET", "/status", SERVICE)
        return bool(body["status"] == status)

    await eventually(reached)


NEW_PARTITION = "create table measures_later partition of measures default"


async def test_the_notifier_finds_a_new_partition_by_itself(gateway, one_project, sql, measures):
    async with running_notifier(one_project, Timings(mend_seconds=0.1)), gateway.client() as client:
        await client.subscribe("table:measures")
        await status_becomes(gateway, "ok")
        await sql.execute(NEW_PARTITION)
        await status_becomes(gateway, "ok")
        await sql.execute("insert into measures_later values ('2026-05-01', 7)")
        change = await client.hear()
    assert (change["table"], change["data"]["value"]) == ("measures", 7)


async def test_until_then_the_project_is_degraded(gateway, one_project, sql, measures):
    """Wait until `GET /status` says so."""
    async with running_notifier(one_project, Timings(mend_seconds=3600)):
        await status_becomes(gateway, "ok")
        await sql.execute(NEW_PARTITION)
        await status_becomes(gateway, "degraded")
