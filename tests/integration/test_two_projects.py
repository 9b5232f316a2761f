"""Two projects on one fleet, with the same channels, users and tables: nothing crosses."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from realtime.settings.config import Project, Settings
from tests.fleet_fixture import Crowd, crowd, history, present
from tests.gateway_fixture import (
    SECRET,
    Gateway,
    eventually,
    running_notifier,
    token_for,
)
from tests.servers import fresh_database


def token(project: str, **more) -> str:
    return token_for(project, **more)


@pytest.fixture
async def databases(postgres_url: str) -> AsyncIterator[dict[str, str]]:
    async with fresh_database(postgres_url) as demo, fresh_database(postgres_url) as other:
        for url in (demo, other):
            connection = await asyncpg.connect(url)
            await connection.execute("create table orders (id bigint primary key, note text)")
            await connection.close()
        yield {"demo": demo, "other": other}


@pytest.fixture
async def settings(databases: dict[str, str], redis_url: str) -> Settings:
    projects = {name: Project(database_url=url, jwt_secret=SECRET) for name, url in databases.items()}
    return Settings(redis_url=redis_url, projects=projects)


async def rest(gateway: Gateway, method: str, path: str, project: str, **more):
    service = token(project, sub=None, role="service_role")
    return await gateway.rest(method, path, service, project=project, **more)


async def expect_silence(client) -> None:
    assert (await client.ask(type="ping"))["type"] == "pong"


async def test_broadcasts_stay_in_their_project(here, there):
    async with (
        here.client(token("demo")) as demo,
        there.client(token("other"), project="other") as other,
        here.client(token("other"), project="other") as sender,
    ):
        start = (await demo.subscribe("room:a"))["position"]
        await other.subscribe("room:a")
        await sender.ask(type="broadcast", channel="room:a", payload="by socket", ref=1)
        body = {"messages": [{"channel": "room:a", "payload": "by rest"}]}
        assert (await rest(here, "POST", "/broadcast", "other", json=body))[0] == 202
        assert [(await other.hear())["payload"] for _ in range(2)] == ["by socket", "by rest"]
        await expect_silence(demo)
        assert (await demo.subscribe("room:a", since=start))["recovered"] is True
        await expect_silence(demo)


async def test_a_position_of_one_project_recovers_nothing_in_the_other(here, there):
    async with here.client(token("demo")) as demo, there.client(token("other"), project="other") as other:
        await demo.subscribe("room:a")
        await demo.say(type="broadcast", channel="room:a", payload=1)
        seen = (await demo.hear())["id"]
        await demo.ask(type="broadcast", channel="room:a", payload=2, ref=1)
        assert (await other.subscribe("room:a", since=seen))["recovered"] is False
        await expect_silence(other)


@pytest.mark.parametrize("channel", [None, "room:a"])
async def test_presence_stays_in_its_project(here, there, channel):
    name = "presence" if channel is None else f"presence:{channel}"
    scope = {} if channel is None else {"channel": channel}
    async with (
        here.client(token("demo")) as demo,
        there.client(token("other"), project="other") as other,
        here.client(token("other"), project="other") as somebody,
    ):
        watched: list[Crowd] = [await crowd(demo, name), await crowd(other, name)]
        await somebody.ask(type="presence", state={"n": 1}, **scope, ref=1)
        await watched[1].becomes(lambda: len(watched[1].ids) == 1)
        assert await present(here, channel) == []
        assert len(await present(here, channel, project="other")) == 1
        await somebody.ask(type="presence", state=None, **scope, ref=1)
        await watched[1].becomes(lambda: not watched[1].ids)
        await watched[0].is_up_to_date()
        assert watched[0].messages == 1, "the sync"


async def test_connections_are_counted_and_remembered_by_project(here, there):
    async with here.client(token("demo", sub="d")), there.client(token("other", sub="o"), project="other"):

        async def counted() -> bool:
            answers = [(await rest(here, "GET", "/status", name))[1] for name in ("demo", "other")]
            assert [answer["project_id"] for answer in answers] == ["demo", "other"]
            return [answer["connections"] for answer in answers] == [1, 1]

        await eventually(counted)
        for project, user in (("demo", "d"), ("other", "o")):
            events = (await history(there, project=project))["connections"]
            assert [event["user_id"] for event in events] == [user]


async def test_tables_and_their_changes_stay_in_their_project(here, there, settings, databases):
    async with running_notifier(settings):
        body = {"table_name": "orders"}
        assert (await rest(here, "POST", "/enable", "other", json=body))[0] == 200
        tables = [(await rest(there, "GET", "/tables", name))[1]["tables"] for name in ("demo", "other")]
        assert [[table["enabled"] for table in of_one] for of_one in tables] == [[False], [True]]
        enabled = [(await rest(there, "GET", "/status", name))[1]["tables"] for name in ("demo", "other")]
        assert [len(of_one) for of_one in enabled] == [0, 1]
        async with here.client(token("demo")) as demo, there.client(token("other"), project="other") as other:
            assert (await demo.subscribe("table:orders"))["enabled"] is False
            assert (await other.subscribe("table:orders"))["enabled"] is True
            for url in databases.values():
                connection = await asyncpg.connect(url)
                await connection.execute("insert into orders values (1, $1)", url.rpartition("/")[2])
                await connection.close()
            change = await other.hear()
            assert change["data"]["note"] == databases["other"].rpartition("/")[2]
            await expect_silence(demo)
        assert (await rest(here, "POST", "/disable", "demo", json=body))[0] == 200
        assert len((await rest(here, "GET", "/status", "other"))[1]["tables"]) == 1


REQUESTS = [
    ("POST", "/enable", {"table_name": "orders"}),
    ("POST", "/disable", {"table_name": "orders"}),
    ("GET", "/status", None),
    ("GET", "/tables", None),
    ("GET", "/presence", None),
    ("GET", "/connections", None),
    ("POST", "/broadcast", {"channel": "room:a", "payload": 1}),
]


async def test_no_endpoint_takes_a_token_of_the_other_project(here):
    foreign = token("other", sub=None, role="service_role")
    for method, path, body in REQUESTS:
        status, answer, _ = await here.rest(method, path, foreign, json=body)
        assert (status, answer["error"]["code"]) == (401, "unauthorized"), path


async def test_no_socket_opens_with_a_token_of_the_other_project(here):
    async with here.socket(token=token("other")) as client:
        assert await client.is_refused() == ("unauthorized", 4401)
    async with here.client(token("demo")) as client:
        refused = await client.ask(type="auth", token=token("other"), ref=1)
        assert (refused["type"], refused["code"]) == ("error", "unauthorized")
