"""The previews of `/enable` and `/disable`, and the settings in force."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.gateway_fixture import SECRET
from tests.integration.test_rest_tables import SERVICE, post, refused


async def preview(gateway, path, body):
    status, answer = await post(gateway, f"{path}/preview", body)
    assert status == 200, answer
    assert list(answer) == ["sql"]
    return answer["sql"]


async def enabled(gateway):
    _, status, _ = await gateway.rest("GET", "/status", SERVICE)
    return status["tables"]


async def is_installed(sql):
    return await sql.fetchval("select to_regnamespace('realtime') is not null")


async def test_a_preview_changes_nothing_and_says_that_the_schema_comes_first(gateway, sql):
    text = await preview(gateway, "/enable", {"table_name": "orders"})
    assert text.startswith("-- Before that the schema realtime is installed")
    assert (await preview(gateway, "/disable", {"table_name": "orders"})).startswith("-- Nothing")
    assert not await is_installed(sql)


ODD = 'O\'dd "table".x\\y'


@pytest.mark.parametrize(
    "body",
    [
        {"table_name": "orders"},
        {"table_name": "orders", "events": ["DELETE", "INSERT"], "columns": ["note", "id", "id"]},
        {"table_name": ODD, "schema": "public", "columns": ["it's \\ a"]},
    ],
)
async def test_what_a_preview_tells_does_what_enable_does(gateway, sql, body):
    await sql.execute("""create table "O'dd ""table"".x\\y" ("it's \\ a" int primary key)""")
    await gateway.enable("users")
    text = await preview(gateway, "/enable", body)
    assert len(await enabled(gateway)) == 1
    await gateway.enable(**body)
    by_service = await enabled(gateway)
    name = {field: value for field, value in body.items() if field in ("table_name", "schema")}
    assert (await post(gateway, "/disable", name))[0] == 200
    assert len(await enabled(gateway)) == 1
    await sql.execute(text)
    assert await enabled(gateway) == by_service
    text = await preview(gateway, "/disable", name)
    assert await enabled(gateway) == by_service
    await sql.execute(text)
    assert len(await enabled(gateway)) == 1


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"table_name": "nothing"}, 404, "there is no table"),
        ({"table_name": "orders", "columns": ["nothing"]}, 400, "columns: "),
        ({"table_name": "orders", "columns": []}, 400, "columns: "),
        ({"table_name": "orders", "events": ["TRUNCATE"]}, 400, "events"),
        ({"table_name": "orders", "access": {}}, 400, "access: "),
        ({}, 400, "table_name: missing"),
    ],
)
async def test_a_preview_is_refused_where_enable_is(gateway, sql, body, status, words):
    refusal = await refused(gateway, "/enable/preview", body)
    assert refusal == await refused(gateway, "/enable", body)
    assert refusal[0] == status
    assert words in refusal[2]


async def test_a_preview_waits_for_nobody_who_has_locked_a_partition(gateway, sql):
    await sql.execute("create table parts (id int primary key) partition by range (id)")
    await sql.execute("create table part partition of parts for values from (0) to (9)")
    await gateway.enable("orders")
    async with sql.transaction(), asyncio.timeout(5):
        await sql.execute("lock table part in access exclusive mode")
        assert "enable_v1" in await preview(gateway, "/enable", {"table_name": "parts"})
        assert "disable_v1" in await preview(gateway, "/disable", {"table_name": "parts"})
        assert (await gateway.rest("POST", "/enable", SERVICE, json={"table_name": "parts"}))[0] == 503


async def test_the_settings_in_force_are_told_without_secrets(gateway):
    status, answer, _ = await gateway.rest("GET", "/settings", SERVICE)
    assert (status, answer["fleet"]["drain_seconds"]) == (200, {"value": 0, "default": 20})
    assert set(answer) == {"limits", "history", "namespaces", "project", "fleet"}
    text = json.dumps(answer)
    assert SECRET not in text
    assert "://" not in text
