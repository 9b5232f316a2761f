"""REST: enable, disable, tables and status, and what each refuses."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from msgspec.structs import replace

from realtime.postgres.backlog import read_backlog
from realtime.postgres.catalogue import Catalogue
from realtime.settings.config import Project, Settings
from realtime.waiting.single_flight import SingleFlight
from tests.gateway_fixture import SECRET, eventually, running_gateway, running_notifier, token_for

SERVICE = token_for(role="service_role", sub=None)
ALL = ["INSERT", "UPDATE", "DELETE"]


async def post(gateway, path, body, token=SERVICE, **more):
    status, answer, _ = await gateway.rest("POST", path, token, json=body, **more)
    return status, answer


async def refused(gateway, path, body):
    """The status and the message of a refusal."""
    status, answer = await post(gateway, path, body)
    assert list(answer) == ["error"]
    return status, answer["error"]["code"], answer["error"]["message"]


async def test_enable_answers_what_is_on_now(gateway, sql):
    assert await post(gateway, "/enable", {"table_name": "orders"}) == (
        200,
        {
            "schema": "public",
            "table_name": "orders",
            "events": ALL,
            "columns": None,
            "access": None,
            "enabled": True,
        },
    )


async def test_enable_again_replaces(gateway, sql):
    await gateway.enable("orders", events=["INSERT"], columns=["id"])
    assert (await gateway.enable("orders", events=["DELETE", "UPDATE"]))["events"] == ["UPDATE", "DELETE"]
    _, status, _ = await gateway.rest("GET", "/status", SERVICE)
    assert status["tables"] == [
        {"schema": "public", "table_name": "orders", "events": ["UPDATE", "DELETE"], "columns": None}
    ]


async def test_an_event_named_twice_counts_once(gateway, sql):
    assert (await gateway.enable("orders", events=["INSERT", "INSERT"]))["events"] == ["INSERT"]
    assert (await gateway.enable("orders", columns=["id", "id"]))["columns"] == ["id"]


async def test_columns_come_back_in_the_answer_in_status_and_in_tables(gateway, sql):
    assert (await gateway.enable("orders", columns=["note", "id"]))["columns"] == ["note", "id"]
    _, status, _ = await gateway.rest("GET", "/status", SERVICE)
    assert sorted(status["tables"][0]["columns"]) == ["id", "note"]


async def test_disable_answers_the_same_whether_it_was_on_or_not(gateway, sql):
    await gateway.enable("orders")
    for _ in range(2):
        assert await post(gateway, "/disable", {"table_name": "orders"}) == (
            200,
            {"schema": "public", "table_name": "orders", "enabled": False},
        )


async def test_disable_works_where_nothing_was_ever_installed(gateway, sql):
    assert (await post(gateway, "/disable", {"table_name": "orders"}))[0] == 200


async def test_tables_lists_all_with_columns_and_primary_key(gateway, sql):
    await sql.execute("create schema audit; create table audit.logins (a int, b text, primary key (b, a))")
    await gateway.enable("orders", events=["INSERT"])
    _, answer, _ = await gateway.rest("GET", "/tables", SERVICE)
    tables = {(table["schema"], table["table_name"]): table for table in answer["tables"]}
    assert list(tables) == [("audit", "logins"), ("public", "orders"), ("public", "users")]
    assert tables["audit", "logins"] == {
        "schema": "audit",
        "table_name": "logins",
        "enabled": False,
        "events": [],
        "columns": [{"name": "a", "type": "integer"}, {"name": "b", "type": "text"}],
        "primary_key": ["b", "a"],
    }
    assert (tables["public", "orders"]["enabled"], tables["public", "orders"]["events"]) == (True, ["INSERT"])


async def test_a_schema_makes_the_name_raw(gateway, sql):
    await sql.execute(
        'create schema audit; create table audit.logins (a int); create table audit."a.b" (a int)'
    )
    assert (await gateway.enable("logins", schema="audit"))["schema"] == "audit"
    assert (await gateway.enable("a.b", schema="audit"))["table_name"] == "a.b"
    assert (await refused(gateway, "/enable", {"table_name": "audit.logins", "schema": "public"}))[0] == 404


async def test_without_schema_a_table_of_public_with_the_very_name_comes_before_a_split_at_the_dot(
    gateway, sql
):
    await sql.execute("create schema audit; create table audit.logins (a int)")
    assert (await gateway.enable("audit.logins"))["schema"] == "audit"
    await sql.execute('create table "audit.logins" (a int)')
    answer = await gateway.enable("audit.logins")
    assert (answer["schema"], answer["table_name"]) == ("public", "audit.logins")


NAMES = [
    "orders; drop table users",
    'say "hi"',
    "Größe",
    "a:b",
    "$1",
    "--",
    "select",
    "x" * 63,
    "%s",
    "\\",
    "'",
]


async def test_names_are_never_sql(gateway, sql):
    for name in NAMES:
        await sql.execute('create table "{}" (id int)'.format(name.replace('"', '""')))
        assert (await gateway.enable(name))["table_name"] == name
        assert (await post(gateway, "/disable", {"table_name": name}))[0] == 200
    assert await sql.fetchval("select to_regclass('users') is not null")


NOWHERE = [
    "nowhere",
    "public.nowhere",
    "ORDERS",
    "x" * 64,
    "x" * 10_000,
    "a\0b",
    ".",
    "orders.",
    ".orders",
    " orders",
]
FOREIGN = ["pg_class", "pg_catalog.pg_class", "realtime.outbox", "information_schema.tables", "v"]


async def test_what_is_not_there_or_the_system_s_or_no_table_is_not_found(gateway, sql):
    await gateway.enable("users")
    await sql.execute(f'create table "{"x" * 63}" (id int); create view v as select 1')
    for path in ["/enable", "/disable"]:
        for name in NOWHERE + FOREIGN:
            answer = await refused(gateway, path, {"table_name": name})
            assert answer[:2] == (404, "not_found"), (path, name, answer)


WRONG_BODIES = [
    ({}, "table_name"),
    ({"table_name": None}, "table_name"),
    ({"table_name": 5}, "table_name"),
    ({"table_name": ""}, "table_name"),
    ({"table_name": ["orders"]}, "table_name"),
    ({"table_name": "orders", "schema": 5}, "schema"),
    ({"table_name": "orders", "schema": ""}, "schema"),
]
WRONG_ENABLES: list[tuple[dict[str, object], str]] = [
    ({"events": []}, "events"),
    ({"events": None}, "events"),
    ({"events": "INSERT"}, "events"),
    ({"events": ["insert"]}, "events"),
    ({"events": ["INSERT", "TRUNCATE"]}, "events"),
    ({"events": [1]}, "events"),
    ({"columns": []}, "columns"),
    ({"columns": "id"}, "columns"),
    ({"columns": [1]}, "columns"),
    ({"columns": ["id", "nowhere"]}, "columns"),
    ({"columns": ["id; drop table users"]}, "columns"),
    ({"columns": ["a\0b"]}, "columns"),
    ({"columns": ["ctid"]}, "columns"),
    ({"access": {"rls": True}}, "access"),
    ({"access": {}}, "access"),
    ({"access": False}, "access"),
]


async def test_a_wrong_body_is_refused_and_the_field_named(gateway, sql):
    cases = [(path, body, field) for path in ("/enable", "/disable") for body, field in WRONG_BODIES]
    cases += [("/enable", {"table_name": "orders"} | more, field) for more, field in WRONG_ENABLES]
    for path, body, field in cases:
        status, code, message = await refused(gateway, path, body)
        assert (status, code) == (400, "invalid_request"), (path, body, message)
        assert field in message


async def test_unknown_fields_are_ignored(gateway, sql):
    assert (await gateway.enable("orders", later={"a": 1}, access=None))["enabled"] is True


async def test_a_partition_is_refused_and_its_parent_named(gateway, sql):
    await sql.execute("create table parted (id int) partition by list (id)")
    await sql.execute("create table part_one partition of parted for values in (1)")
    status, code, message = await refused(gateway, "/enable", {"table_name": "part_one"})
    assert (status, code) == (400, "invalid_request")
    assert "parted" in message
    assert (await gateway.enable("parted"))["enabled"] is True


async def test_a_role_that_may_not_is_told_which_right_it_lacks(sql, database_url, redis_url):
    await sql.execute("create role weak_one login password 'weak'")
    try:
        url = database_url.split("@")[1]
        project = Project(database_url=f"postgresql://weak_one:weak@{url}", jwt_secret=SECRET)
        async with running_gateway(Settings(redis_url=redis_url, projects={"demo": project})) as gateway:
            status, code, message = await refused(gateway, "/enable", {"table_name": "orders"})
        assert (status, code) == (403, "forbidden")
        assert "weak_one" in message
    finally:
        await sql.execute("drop owned by weak_one; drop role weak_one")


@pytest.fixture
def impatient(monkeypatch):
    """A patch, since a gateway would hand the time on by way of Tenant and Tables, for one test alone."""
    monkeypatch.setattr("gateway.projects.tables.Catalogue", partial(Catalogue, lock_seconds=0.3))


@pytest.mark.usefixtures("impatient")
async def test_a_locked_table_is_unavailable_with_nothing_half_done(gateway, sql):
    await gateway.enable("users")
    async with sql.transaction():
        await sql.execute("insert into orders values (1, 'x')")
        assert (await refused(gateway, "/enable", {"table_name": "orders"}))[:2] == (503, "unavailable")
        _, status, _ = await gateway.rest("GET", "/status", SERVICE)
        assert [table["table_name"] for table in status["tables"]] == ["users"]
    await gateway.enable("orders")


async def test_status_tells_connections_of_all_nodes_and_the_notifier(gateway, sql):
    await gateway.enable("orders")
    demo = {"demo": gateway.settings.projects["demo"]}  # a database has one notifier, whatever its projects
    async with (
        running_notifier(replace(gateway.settings, projects=demo)),
        running_gateway(gateway.settings) as other,
        gateway.client(),
        other.client(),
        other.client(token_for("other"), project="other"),
    ):

        async def status():
            code, found, _ = await gateway.rest("GET", "/status", SERVICE)
            assert code == 200
            return found if found["status"] == "ok" and found["connections"] == 2 else None

        found = await eventually(status)
        assert set(found) == {"project_id", "status", "tables", "connections", "nodes", "notifier"}
        assert sorted(node["connections"] for node in found["nodes"]) == [1, 1]
        assert len({node["id"] for node in found["nodes"]}) == 2
        assert all(set(node) == {"id", "connections", "started_at"} for node in found["nodes"])
        assert found["notifier"] == {"status": "live", "pending": 0, "lag_seconds": 0.0}


async def test_status_is_degraded_without_a_notifier(gateway, sql):
    _, found, _ = await gateway.rest("GET", "/status", SERVICE)
    assert (found["status"], found["notifier"]["status"]) == ("degraded", "down")


async def test_an_ordinary_token_sees_no_tables_nodes_or_notifier(gateway):
    status, found, _ = await gateway.rest("GET", "/status", token_for())
    assert status == 200
    assert set(found) == {"project_id", "status", "connections"}


async def test_many_ordinary_tokens_that_ask_for_status_ask_the_database_once(gateway, sql, monkeypatch):
    asked = []

    async def counted(connection):
        asked.append(connection)
        return await read_backlog(connection)

    monkeypatch.setattr("gateway.projects.tables.read_backlog", counted)
    # A patch, since a handler makes it for each project when it is asked first.
    monkeypatch.setattr("gateway.http.status.SingleFlight", partial(SingleFlight, 3_600))
    for _ in range(2):
        answers = await asyncio.gather(*(gateway.rest("GET", "/status", token_for()) for _ in range(50)))
        assert {status for status, _, _ in answers} == {200}
    assert len(asked) == 1
    for _ in range(3):
        await gateway.rest("GET", "/status", SERVICE)
    assert len(asked) == 4
