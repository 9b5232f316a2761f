"""Settings reloaded under a gateway that serves: `alice` of another project hears all, whatever happens."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import chain
from typing import Any

import aiohttp
import asyncpg
import jwt
import msgspec
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client import generate_latest

from gateway.timings import Timings
from gateway.websocket.timings import WebSocketTimings
from realtime import names
from realtime.auth.tokens import issue
from realtime.channels import parse_channel
from realtime.errors import SettingError
from realtime.redis.client import Store
from realtime.settings.config import Limits, Project, Settings
from tests.change_stream import Publisher, streaming
from tests.expressions import value
from tests.gateway_fixture import SECRET, Client, Gateway, eventually, running_gateway, token_for
from tests.reload_fixture import Live, series_of
from tests.servers import fresh_database

NEW_SECRET = "a newer secret of more than 32 bytes"
GONE = ("not_found", 4404)
OTHER = {"project": "other"}


@pytest.fixture
async def live(settings: Settings, caplog: pytest.LogCaptureFixture) -> Live:
    return Live(settings, caplog)


@pytest.fixture
async def gateway(settings: Settings, live: Live, timings: Timings) -> AsyncIterator[Gateway]:
    async with running_gateway(settings, reloads=live.reloads, timings=timings) as gateway:
        await eventually(gateway.is_ready)
        yield gateway


@pytest.fixture(autouse=True)
async def alice(gateway: Gateway, publisher: Publisher) -> AsyncIterator[Client]:
    """A client of `demo`, whose stream of changes must go on complete and in order in every test here."""
    async with gateway.client() as alice, streaming(alice, publisher):
        yield alice


def other_token(secret: str = SECRET, role: str = "authenticated") -> str:
    return issue(secret, "other", "bob", role, 3600, time.time())


async def enter(stack: AsyncExitStack, gateway: Gateway, token: str | None = None) -> Client:
    return await stack.enter_async_context(gateway.client(token or other_token(), project="other"))


def listening(client: Client) -> asyncio.Task[tuple[str, int]]:
    """How its connection ends, as a client hears it that listens all the while."""
    return asyncio.create_task(client.is_refused(), name="listening")


async def status_of(gateway: Gateway, project: str, token: str | None = None) -> int:
    token = token or token_for(project, role="service_role")
    return (await gateway.rest("GET", "/status", token, project=project))[0]


async def is_refused(gateway: Gateway, token: str) -> tuple[str, int]:
    async with gateway.socket("other", token) as client:
        return await client.is_refused()


async def test_an_added_project_is_served_at_once(gateway: Gateway, live: Live) -> None:
    assert await status_of(gateway, "third") == 404
    third = msgspec.structs.replace(
        live.settings.projects["demo"], allowed_origins=["https://app.example.com"]
    )
    assert (await live.become(third=third))["added"] == ["third"]
    assert await status_of(gateway, "third") == 200
    async with gateway.client(token_for("third"), project="third") as client:
        await client.subscribe("room:a")
        start = (await client.subscribe("table:orders"))["position"]
        assert (await client.subscribe("table:orders", since=start))["recovered"] is True
        await client.say(type="broadcast", channel="room:a", payload=1)
        assert (await client.hear())["payload"] == 1
    preflight = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "GET"}
    status, _, headers = await gateway.rest("OPTIONS", "/status", project="third", headers=preflight)
    assert (status, headers["Access-Control-Allow-Origin"]) == (204, "https://app.example.com")
    assert 'realtime_gateway_connections{project="third"}' in generate_latest().decode()


async def test_a_removed_projects_sockets_are_closed_and_nothing_is_left_of_it(
    gateway: Gateway, live: Live, store: Store
) -> None:
    async with AsyncExitStack() as stack:
        people = [await enter(stack, gateway) for _ in range(5)]
        for client in people:
            await client.subscribe("room:a")
        assert await is_heard(store, "room:a")
        ends = [listening(client) for client in people]
        assert (await live.become(other=None))["removed"] == ["other"]
        assert await asyncio.gather(*ends) == [GONE] * 5
        assert await status_of(gateway, "other") == 404
        assert await is_refused(gateway, other_token()) == GONE

        async def unheard() -> bool:
            return not await is_heard(store, "room:a")

        await eventually(unheard)
        await eventually(lambda: not series_of("gateway", "other"))


async def is_heard(store: Store, channel: str) -> bool:
    """Whether a gateway listens to what is said on a channel of `other`."""
    heard = await store.everywhere("PUBSUB", "SHARDCHANNELS")
    topic = names.topic_channel("other", parse_channel(channel).topic)
    return topic.encode() in chain.from_iterable(heard.values())


async def test_how_the_sockets_of_a_removed_project_ended_is_recorded(gateway: Gateway, live: Live) -> None:
    other = live.settings.projects["other"]
    async with AsyncExitStack() as stack:
        end = listening(await enter(stack, gateway))
        await live.become(other=None)
        assert await end == GONE
    await live.become(other=other)

    async def ends() -> list[tuple[int, str]]:
        token = other_token(role="service_role")
        _, answer, _ = await gateway.rest("GET", "/connections?event=disconnect", token, **OTHER)
        return [(one["code"], one["reason"]) for one in answer["connections"]]

    assert await eventually(ends) == [(4404, "not_found")]


# The end of the old project meets the new one.
@pytest.mark.parametrize("timings", [Timings(websocket=WebSocketTimings(close_batch_seconds=0.5))])
async def test_a_project_that_is_removed_and_added_again_at_once_begins_anew(
    gateway: Gateway, live: Live
) -> None:
    other = live.settings.projects["other"]
    async with AsyncExitStack() as stack:
        before = [await enter(stack, gateway) for _ in range(3)]
        for client in before:
            await client.subscribe("room:a")
        ends = [listening(client) for client in before]
        await live.become(other=None)
        await live.become(other=other)
        after = await enter(stack, gateway)
        await after.subscribe("room:a")
        assert await asyncio.gather(*ends) == [GONE] * 3
        await eventually(lambda: "close down other" not in {one.get_name() for one in asyncio.all_tasks()})
        await eventually(lambda: value("realtime_gateway_connections", project="other") == 1)
        await after.say(type="broadcast", channel="room:a", payload="still here")
        assert (await after.hear())["payload"] == "still here"


async def test_keys_are_rotated_and_open_sockets_stay(gateway: Gateway, live: Live) -> None:
    async with AsyncExitStack() as stack:
        bob = await enter(stack, gateway)
        await bob.subscribe("room:a")
        assert (await live.change("other", jwt_secret=NEW_SECRET))["changed"] == ["other"]
        assert await status_of(gateway, "other", other_token()) == 401
        assert await status_of(gateway, "other", other_token(NEW_SECRET)) == 200
        assert await is_refused(gateway, other_token()) == ("unauthorized", 4401)
        newcomer = await enter(stack, gateway, other_token(NEW_SECRET))
        await newcomer.say(type="broadcast", channel="room:a", payload="to bob")
        assert (await bob.hear())["payload"] == "to bob"
        refused = await bob.ask(type="auth", token=other_token(), ref=1)
        assert (refused["type"], refused["code"]) == ("error", "unauthorized")
        assert (await bob.ask(type="auth", token=other_token(NEW_SECRET), ref=2))["type"] == "authenticated"


async def test_what_cannot_be_taken_changes_nothing(gateway: Gateway, live: Live) -> None:
    wrong = SettingError("projects.other.jwt_secret", "shorter than 32 bytes")
    async with AsyncExitStack() as stack:
        bob = await enter(stack, gateway)
        await bob.subscribe("room:a")
        refused = [await live.be_refused(wrong), await live.be_refused(heartbeat_seconds=7)]
        assert [one["setting"] for one in refused] == ["projects.other.jwt_secret", "heartbeat_seconds"]
        assert [await status_of(gateway, one) for one in ("demo", "other")] == [200, 200]
        await bob.say(type="broadcast", channel="room:a", payload=1)
        assert (await bob.hear())["payload"] == 1
        end = listening(bob)
        await live.become(other=None)
        assert await end == GONE


async def test_origins_and_limits_are_those_of_who_comes_next(gateway: Gateway, live: Live) -> None:
    page = {"headers": {"Origin": "https://app.example.com"}}
    async with AsyncExitStack() as stack:
        early = await enter(stack, gateway)
        async with gateway.socket("other", other_token(), **page) as client:
            assert await client.is_refused() == ("forbidden", 4403)
        limits = Limits(max_channels_per_connection=1)
        await live.change("other", allowed_origins=["https://app.example.com"], limits=limits)
        late = await stack.enter_async_context(gateway.client(other_token(), project="other", **page))
        for client in (early, late):
            await client.subscribe("room:a")
        await early.subscribe("room:b")
        assert (await late.ask(type="subscribe", channel="room:b"))["code"] == "too_many_channels"


async def sessions(connection: Any) -> int:
    """How many a gateway has in this database."""
    found = await connection.fetchval(
        "select count(*) from pg_stat_activity"
        " where application_name = 'realtime' and datname = current_database()"
    )
    return int(found)


async def test_another_database_is_asked_from_then_on_and_the_former_left(
    gateway: Gateway, live: Live, postgres_url: str
) -> None:
    service = other_token(role="service_role")
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(fresh_database(postgres_url)) for _ in range(2)]
        for url in (first, second):
            connection = await asyncpg.connect(url)
            stack.push_async_callback(connection.close, timeout=30)
            await connection.execute(f"create table {'first' if url == first else 'second'} (id bigint)")
            if url == first:
                witness = connection
        await live.change("other", database_url=first)

        async def tables() -> list[str]:
            _, answer, _ = await gateway.rest("GET", "/tables", service, **OTHER)
            return [table["table_name"] for table in answer["tables"]]

        assert await tables() == ["first"]
        assert await sessions(witness) > 0
        await live.change("other", database_url=second)
        assert await tables() == ["second"]
        await eventually(lambda: no_session(witness))
        await live.change("other", database_url=first)
        assert await tables() == ["first"]
        await live.become(other=None)
        await eventually(lambda: no_session(witness))


async def no_session(connection: Any) -> bool:
    return await sessions(connection) == 0


async def test_who_is_on_the_way_in_when_the_project_goes_is_refused(
    gateway: Gateway, live: Live, aiohttp_server: Any
) -> None:
    """The key of its token comes late: between its first step and its last the project is removed."""
    key, asked, answer = ec.generate_private_key(ec.SECP256R1()), asyncio.Event(), asyncio.Event()
    public = jwt.get_algorithm_by_name("ES256").to_jwk(key.public_key(), as_dict=True)

    async def late(_: web.Request) -> web.Response:
        asked.set()
        await answer.wait()
        return web.Response(body=json.dumps({"keys": [public]}).encode())

    issuer = web.Application()
    issuer.router.add_get("/jwks.json", late)
    server = await aiohttp_server(issuer)
    database_url = live.settings.projects["demo"].database_url
    slow = Project(database_url=database_url, jwks_url=str(server.make_url("/jwks.json")))
    await live.become(slow=slow)
    token = jwt.encode({"sub": "carol", "exp": time.time() + 60}, key, "ES256")
    url = f"{gateway.url}/projects/slow/realtime/ws?token={token}"
    async with gateway.http.ws_connect(url) as web_socket:
        await eventually(asked.is_set)
        await live.become(slow=None)
        answer.set()
        assert await Client(web_socket).is_refused() == GONE


async def test_a_gateway_ends_while_it_sends_a_projects_clients_away(settings: Settings, live: Live) -> None:
    """One of them does not answer the close."""
    reloads = live.reloads
    async with AsyncExitStack() as stack:
        async with running_gateway(settings, reloads=reloads) as gateway:
            await eventually(gateway.is_ready)
            http = await stack.enter_async_context(aiohttp.ClientSession())
            url = f"{gateway.url}/projects/other/realtime/ws?token={other_token()}"
            silent = await http.ws_connect(url, autoclose=False)
            await silent.receive()
            await live.become(other=None)
        await silent.close()
