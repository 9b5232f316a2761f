"""Clients of one project that fill Redis with history: they are refused, and no other project notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from gateway.projects.history_quota import TOPIC_BYTES
from realtime import names
from realtime.channels import parse_channel
from realtime.process.reload import Reloads
from realtime.redis.client import Store
from realtime.settings.config import load
from tests.change_stream import DEADLINE, publisher_to, streaming
from tests.gateway_fixture import Client, Gateway, eventually, running_gateway, token_for
from tests.limits_fixture import toml

MEGABYTE = 1_048_576
OTHER = {"project": "other"}
SERVICE = token_for("other", role="service_role")
Bounded = Callable[..., AbstractAsyncContextManager[Gateway]]


def settings(postgres_url: str, redis_url: str, limit: int) -> str:
    """A bound for `other` alone; what is said there in `brief:…` is gone after 4 s."""
    text = toml(
        postgres_url,
        redis_url,
        demo=f"max_history_bytes = {100 * MEGABYTE}",
        common=f"max_history_bytes = {limit}\nmessages_per_second = 10000",
    )
    return f"{text}\n[projects.other.namespaces.brief]\nhistory_seconds = 4\n"


@pytest.fixture
def bounded(postgres_url: str, redis_url: str) -> Bounded:
    """Run a gateway with that bound, while a client of `demo` hears changes without a hole."""

    @asynccontextmanager
    async def run(limit: int = MEGABYTE, reloads: Reloads | None = None) -> AsyncIterator[Gateway]:
        loaded = load(settings(postgres_url, redis_url, limit), {})
        async with running_gateway(loaded, reloads=reloads) as gateway:
            await eventually(gateway.is_ready)
            async with (
                publisher_to(loaded) as publisher,
                gateway.client() as bystander,
                streaming(bystander, publisher),
            ):
                yield gateway

    return run


def client_of_other(gateway: Gateway) -> AbstractAsyncContextManager[Client]:
    return gateway.client(token_for("other"), **OTHER)


async def say(client: Client, channel: str, size: int = 60_000) -> dict[str, Any]:
    return await client.ask(type="broadcast", channel=channel, payload="x" * size, ref=channel)


async def flood(client: Client, namespace: str = "room") -> tuple[int, dict[str, Any]]:
    """Speak to a new channel each time until it is refused; how often that was, and the refusal."""
    for number in range(100):
        answer = await say(client, f"{namespace}:{number}")
        if answer["type"] == "error":
            return number, answer
    raise AssertionError("nobody was refused")


async def kept(store: Store, channel: str) -> bool:
    return bool(await store.call("EXISTS", names.topic_history("other", parse_channel(channel).topic)))


async def test_a_project_that_fills_redis_is_refused_and_the_other_goes_on(
    bounded: Bounded, store: Store
) -> None:
    async with bounded() as gateway, client_of_other(gateway) as hostile, gateway.client() as honest:
        said, refused = await flood(hostile)
        assert said == MEGABYTE // (60_000 + TOPIC_BYTES)
        assert (refused["code"], refused["ref"], refused["channel"]) == (
            "rate_limited",
            f"room:{said}",
            f"room:{said}",
        )
        assert not await kept(store, f"room:{said}"), "it was sent nevertheless"
        for number in range(2 * said):
            assert (await say(honest, f"room:{number}"))["type"] == "ack"


async def test_who_was_refused_may_speak_when_history_has_run_out(bounded: Bounded, store: Store) -> None:
    async with bounded(100_000) as gateway, client_of_other(gateway) as client:
        said, _ = await flood(client, "brief")
        assert said == 1
        assert (await say(client, "room:a"))["code"] == "rate_limited"

        async def may_speak() -> bool:
            return (await say(client, "room:a"))["type"] == "ack"

        await eventually(may_speak)
        assert not await kept(store, "brief:0")


async def test_a_channel_that_replaces_its_own_history_is_never_refused(bounded: Bounded) -> None:
    async with bounded(16 * MEGABYTE) as gateway, client_of_other(gateway) as client:
        for number in range(300):
            assert (await say(client, "room:busy"))["type"] == "ack", number


async def test_by_rest_it_is_429_and_nothing_of_the_request_is_sent(bounded: Bounded, store: Store) -> None:
    messages = [{"channel": f"room:{number}", "payload": "x" * 60_000} for number in range(10)]
    async with bounded() as gateway, client_of_other(gateway) as listener:
        await listener.subscribe("room:0")
        status, answer, _ = await gateway.rest(
            "POST", "/broadcast", SERVICE, **OTHER, json={"messages": messages}
        )
        assert (status, answer) == (202, {"accepted": 10})
        assert (await listener.hear())["type"] == "broadcast"
        body = {"messages": [{"channel": "room:0", "payload": 1}, *messages]}
        status, answer, headers = await gateway.rest("POST", "/broadcast", SERVICE, **OTHER, json=body)
        assert (status, answer["error"]["code"], headers["Retry-After"]) == (429, "rate_limited", "1")
        assert (await listener.ask(type="ping"))["type"] == "pong"
        small = {"channel": "room:0", "payload": "small"}
        assert (await gateway.rest("POST", "/broadcast", SERVICE, **OTHER, json=small))[0] == 202
        assert (await listener.hear())["payload"] == "small"


async def test_messages_that_come_at_once_are_not_let_through_together(bounded: Bounded) -> None:
    async with bounded() as gateway:

        async def one(number: int) -> str:
            async with client_of_other(gateway) as client:
                everybody_is_in.release()
                await all_may_speak.wait()
                return str((await say(client, f"room:{number}"))["type"])

        everybody_is_in, all_may_speak = asyncio.Semaphore(0), asyncio.Event()
        async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as clients:
            asked = [clients.create_task(one(number)) for number in range(40)]
            for _ in asked:
                await everybody_is_in.acquire()
            all_may_speak.set()
        taken = [task.result() for task in asked].count("ack")
        assert 1 <= taken <= MEGABYTE // 60_000


async def test_the_bound_is_that_of_the_newest_settings(
    bounded: Bounded, postgres_url: str, redis_url: str
) -> None:
    """Wait after each reload until a client may speak, may not, and may again."""
    limits = [MEGABYTE]
    reloads = Reloads(lambda: load(settings(postgres_url, redis_url, limits[0]), {}))
    async with bounded(reloads=reloads) as gateway, client_of_other(gateway) as client:
        await flood(client)

        async def may_speak() -> bool:
            return (await say(client, "room:again"))["type"] == "ack"

        async def may_not_speak() -> bool:
            return not await may_speak()

        for limits[0], comes in ((2 * MEGABYTE, may_speak), (1024, may_not_speak), (0, may_speak)):
            reloads.ask()
            await eventually(comes)
