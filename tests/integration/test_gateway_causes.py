"""Operators of a gateway are told which server is away and why, in the log and on the internal port.

Its clients are told neither: not by REST, WebSocket, `GET /status` or `/readyz` of the public port.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from gateway.delivery.timings import DEFAULTS
from gateway.timings import Timings
from realtime.causes.kinds import Cause
from tests.broken_redis import PASSWORD, Stage, broken_redis
from tests.clean_log import logged
from tests.expressions import value
from tests.gateway_fixture import Gateway, eventually, running_gateway, settings_for, token_for
from tests.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with broken_redis(tmp_path_factory.mktemp("causes")) as stage:
        yield stage


async def text_of(url: str) -> str:
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        return await answer.text()


@asynccontextmanager
async def unready_gateway(redis_url: str, **delivery: Any) -> AsyncIterator[Gateway]:
    """A gateway whose databases are as far away as its Redis."""
    nowhere = f"postgresql://app:{PASSWORD}@127.0.0.1:{free_port()}/x"
    timings = Timings(delivery=replace(DEFAULTS, **delivery))
    async with running_gateway(settings_for(nowhere, redis_url), internal=True, timings=timings) as gateway:
        yield gateway


@pytest.mark.parametrize(
    ("login", "cause"),
    [
        ("app:wrong", f"{Cause.PASSWORD} (WRONGPASS"),
        ("", f"{Cause.NO_PASSWORD} (NOAUTH"),
        (
            f"low:{PASSWORD}",
            f"{Cause.RIGHT} (NOPERM User low has no permissions to run the 'spublish' command",
        ),
    ],
)
async def test_operators_of_a_gateway_are_told_and_its_clients_are_not(
    stage: Stage, login: str, cause: str, caplog: Any
) -> None:
    place = f"127.0.0.1:{stage.ports['redis']}"
    async with unready_gateway(stage.url(login=login), join_seconds=0.2, last_retry_seconds=0.1) as gateway:
        internal = f"http://127.0.0.1:{gateway.internal_port}/readyz"

        async def told() -> bool:
            return f"{place}: {cause}" in (await text_of(internal))

        await eventually(told)
        public = json.loads(await text_of(f"{gateway.url}/readyz"))
        assert public == {"status": "unavailable", "reason": "messages from Redis do not arrive"}
        for said in await what_clients_hear(gateway):
            for secret in (str(stage.ports["redis"]), "127.0.0.1", "WRONGPASS", "NOPERM", "NOAUTH", PASSWORD):
                assert secret not in said, said
    lost = logged(caplog, "redis_subscription_lost")
    assert [facts["error"].partition(" (")[0] for facts in lost] == [f"{place}: {cause}".partition(" (")[0]]
    assert {facts["error"] for facts in logged(caplog, "redis_call_failed")} >= {lost[0]["error"]}
    assert PASSWORD not in caplog.text


async def what_clients_hear(gateway: Gateway) -> list[str]:
    """Answers and errors, of all that needs Redis or the database."""
    service = token_for(role="service_role")
    said = []
    async with gateway.client() as client:
        said.append(json.dumps(await client.ask(type="broadcast", channel="room:a", payload=1, ref=1)))
        said.append(json.dumps(await client.ask(type="presence", state={}, ref=2)))
        said.append(json.dumps(await client.ask(type="subscribe", channel="room:a", ref=3)))
    message = {"channel": "room:a", "payload": 1}
    for method, path, body in (
        ("POST", "/broadcast", message),
        ("POST", "/enable", {"table_name": "orders"}),
        ("GET", "/tables", None),
        ("GET", "/presence", None),
        ("GET", "/status", None),
    ):
        _, answer, _ = await gateway.rest(method, path, service, json=body)
        answer.get("nodes", [{}])[0].clear()  # what a node is called is no secret
        said.append(json.dumps(answer))
    return said


async def test_a_gateway_logs_each_cause_once_however_often_it_tries(stage: Stage, caplog: Any) -> None:
    quick = {"first_retry_seconds": 0.01, "last_retry_seconds": 0.01}

    def tries() -> float:
        return value("realtime_gateway_redis_reconnects_total")

    events = ("redis_subscription_lost", "node_not_renewed", "cleanup_failed", "redis_call_failed")
    async with unready_gateway(stage.url(login="app:wrong"), **quick):
        await eventually(lambda: all(logged(caplog, event) for event in events))
        begin = tries()
        await eventually(lambda: tries() > begin + 20)
    for event in events:
        assert len(logged(caplog, event)) == 1, event


async def test_a_server_that_is_not_known_is_told_of_every_sentinel(stage: Stage) -> None:
    none = stage.ports["nobody"]
    expected = (
        "no server of Redis is known: no sentinel tells who is the primary of 'mymaster':"
        f" 127.0.0.1:{none}: {Cause.REFUSED}"
    )
    async with unready_gateway(f"redis+sentinel://127.0.0.1:{none}/mymaster") as gateway:
        internal, public = f"http://127.0.0.1:{gateway.internal_port}/readyz", f"{gateway.url}/readyz"
        await eventually(lambda: says(internal, expected))
        await eventually(lambda: says(public, "no server of Redis is known"))


async def says(url: str, reason: str) -> bool:
    return bool(json.loads(await text_of(url)).get("reason") == reason)


async def test_a_change_of_cause_is_told(stage: Stage, caplog: Any) -> None:
    user = ("ACL", "SETUSER", "changing")

    def is_lost_by(word: str) -> bool:
        return any(word in facts["error"] for facts in logged(caplog, "redis_subscription_lost"))

    async with Redis.from_url(stage.superuser_url) as redis:
        await redis.execute_command(*user, "on", ">other", "~*", "&*", "+@all")
        url = stage.url(login=f"changing:{PASSWORD}")
        async with unready_gateway(url, last_retry_seconds=0.05) as gateway:
            await eventually(lambda: is_lost_by("WRONGPASS"))
            await redis.execute_command(*user, f">{PASSWORD}", "-spublish")
            await eventually(lambda: is_lost_by("NOPERM"))
            await redis.execute_command(*user, "+spublish")
            await eventually(gateway.is_ready)
    causes = [facts["error"] for facts in logged(caplog, "redis_subscription_lost")]
    assert [Cause.PASSWORD in causes[0], Cause.RIGHT in causes[1], len(causes)] == [True, True, 2]
