"""Who may connect and how often: each limit reached, with the client next to it undisturbed.

Long by the limits that there are: of numbers, of rates, and of the time for a handshake.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest

from gateway.http.timings import HttpTimings
from gateway.timings import DEFAULTS, Timings
from realtime import names
from realtime.settings.config import Limits, load
from tests.acceptance.programs import running
from tests.change_stream import publisher_to, streaming
from tests.gateway_fixture import Client, Gateway, eventually, running_gateway, token_for
from tests.limits_fixture import WS_PATH, Wire, request, toml, upgrade, wire
from tests.ports import free_port

Limited = Callable[..., AbstractAsyncContextManager[tuple[Gateway, Gateway]]]

TOO_MANY = ("too_many_connections", 4429)
TOO_FAST = ("rate_limited", 4429)
HERE = "trusted_proxies = ['127.0.0.0/8']"


@pytest.fixture
def limited(postgres_url: str, redis_url: str) -> Limited:
    """Run two gateways with these limits; alice is on the first, and nothing may disturb her."""

    @asynccontextmanager
    async def run(timings: Timings = DEFAULTS, **more: str) -> AsyncIterator[tuple[Gateway, Gateway]]:
        settings = load(toml(postgres_url, redis_url, **more), {})
        async with (
            running_gateway(settings, timings=timings) as one,
            running_gateway(settings, timings=timings) as two,
            publisher_to(settings) as publisher,
        ):
            await eventually(one.is_ready)
            await eventually(two.is_ready)
            async with one.client(token_for(sub="alice")) as alice, streaming(alice, publisher):
                yield one, two

    return run


async def enter(people: AsyncExitStack, gateway: Gateway, sub: str | None = "bob", **more) -> Client:
    return await people.enter_async_context(gateway.client(token_for(sub=sub), **more))


async def refusal(gateway: Gateway, sub: str | None = "bob", **more) -> tuple[str, int]:
    """How a client that may not come in is told so."""
    async with gateway.socket(token=token_for(sub=sub), **more) as client:
        return await client.is_refused()


async def gets_in_at_last(gateway: Gateway, sub: str | None = "bob", **more) -> None:
    """Try until there is a place."""

    async def tried() -> bool:
        async with gateway.socket(token=token_for(sub=sub), **more) as client:
            return (await client.hear())["type"] == "connected"

    await eventually(tried)


def via(*addresses: str) -> dict[str, Any]:
    return {"headers": {"X-Forwarded-For": ", ".join(addresses)}}


# How many


async def test_a_project_has_so_many_connections_over_all_nodes(limited):
    async with limited(demo="max_connections = 3") as (one, two), AsyncExitStack() as people:
        await enter(people, two)
        last = await enter(people, two)
        assert await refusal(one) == TOO_MANY
        assert await refusal(two) == TOO_MANY
        await last.web_socket.close()
        await gets_in_at_last(one)


async def test_a_full_project_leaves_the_others_alone(limited):
    async with limited(demo="max_connections = 1", common="max_connections = 2") as (one, two):
        assert await refusal(two) == TOO_MANY
        async with AsyncExitStack() as people:
            for gateway in (one, two):
                await people.enter_async_context(gateway.client(token_for("other"), project="other"))
            async with two.socket("other", token_for("other")) as client:
                assert await client.is_refused() == TOO_MANY


async def test_zero_connections_is_no_limit(limited, store):
    """Both projects have as many connections as the default allows; `other` has the default."""
    by_default = {f"elsewhere-0/{number}": "{}" for number in range(Limits().max_connections)}
    async with limited(demo="max_connections = 0") as (one, two), AsyncExitStack() as people:
        for project in ("demo", "other"):
            facts = [word for pair in by_default.items() for word in pair]
            await store.call("HSET", names.open_connections(project), *facts)
        for gateway in (one, two):
            await enter(people, gateway)
            async with gateway.socket("other", token_for("other")) as client:
                assert await client.is_refused() == TOO_MANY


async def test_a_user_has_so_many_connections_over_all_nodes(limited):
    async with limited(demo="max_connections_per_user = 2") as (one, two), AsyncExitStack() as people:
        second = await enter(people, two, "alice")
        assert await refusal(one, "alice") == TOO_MANY
        assert await refusal(two, "alice") == TOO_MANY
        await enter(people, one, "bob")
        await second.web_socket.close()
        await gets_in_at_last(two, "alice")


async def test_tokens_without_sub_are_not_one_user(limited):
    """All three get in, where a user may have one connection."""
    async with limited(demo="max_connections_per_user = 1") as (one, two), AsyncExitStack() as people:
        for gateway in (one, two, two):
            await enter(people, gateway, None)


async def test_an_address_has_so_many_connections_over_all_nodes(limited):
    async with limited(demo="max_connections_per_ip = 1") as (one, two):
        assert await refusal(one) == TOO_MANY
        assert await refusal(two) == TOO_MANY


async def test_a_client_that_no_proxy_vouches_for_cannot_choose_its_address(limited):
    async with limited(demo="max_connections_per_ip = 1") as (_, two):
        assert await refusal(two, **via("198.51.100.1")) == TOO_MANY
        assert await refusal(two, **via("198.51.100.2, 127.0.0.1")) == TOO_MANY


async def test_behind_a_trusted_proxy_clients_are_told_apart_by_what_it_says(limited):
    async with limited(demo="max_connections_per_ip = 1", top=HERE) as (one, two):
        async with AsyncExitStack() as people:
            first = await enter(people, one, **via("198.51.100.1"))
            await enter(people, two, **via("198.51.100.2"))
            await enter(people, two, **via("2001:db8::1"))
            assert await refusal(two, **via("198.51.100.1")) == TOO_MANY
            assert await refusal(one, **via("2001:0DB8::1")) == TOO_MANY
            assert await refusal(two, **via("6.6.6.6", "198.51.100.1")) == TOO_MANY  # the first is made up
            assert await refusal(two) == TOO_MANY  # the proxy itself, where alice is
            await first.web_socket.close()
            await gets_in_at_last(two, **via("198.51.100.1"))
        _, answer, _ = await one.rest("GET", "/connections?event=connect", token_for(role="service_role"))
        assert {event["ip"] for event in answer["connections"]} == {
            *("127.0.0.1", "198.51.100.1", "198.51.100.2", "2001:db8::1")
        }


# How fast


async def test_a_node_lets_in_so_many_a_second(limited):
    async with limited(demo="connections_per_second = 0.01") as (one, two), AsyncExitStack() as people:
        assert await refusal(one) == TOO_FAST
        await enter(people, two)
        assert await refusal(two) == TOO_FAST
        await people.enter_async_context(one.client(token_for("other"), project="other"))


async def test_what_is_no_upgrade_gets_429_and_when_to_come_again(limited):
    async with limited(demo="connections_per_second = 0.01") as (one, _):
        status, answer, headers = await one.rest("GET", "/ws", token_for())
        assert (status, answer["error"]["code"]) == (429, "rate_limited")
        assert int(headers["Retry-After"]) >= 1
        assert (await one.rest("GET", "/status", token_for()))[0] == 200


async def test_a_client_that_came_too_fast_gets_in_later(limited):
    """Wait until it is refused, and until it gets in."""
    async with limited(demo="connections_per_second = 0.5") as (_, two):
        while await refusal_or_none(two) is None:
            pass
        await gets_in_at_last(two)


async def refusal_or_none(gateway: Gateway) -> str | None:
    async with gateway.socket(token=token_for()) as client:
        return (await client.hear()).get("code")


# Places are given back


async def test_a_client_that_vanishes_gives_its_place_back(limited):
    async with limited(demo="max_connections = 2") as (one, two), wire(two.port) as client:
        await client.say(upgrade(f"{WS_PATH}?token={token_for(sub='bob')}"))
        await client.hear_until(b'"connected"')
        assert await refusal(one) == TOO_MANY
        client.reset()
        await gets_in_at_last(one)


async def test_clients_that_vanish_while_they_are_let_in_keep_no_place_and_leave_no_error(limited):
    """Wait until another client gets the one place there is."""
    async with limited(demo="max_connections = 2") as (one, two):
        for gateway, token in [(one, token_for()), (two, token_for()), (one, "nonsense")] * 10:
            async with wire(gateway.port) as client:
                await client.say(upgrade(f"{WS_PATH}?token={token}"))
                client.reset()
        await gets_in_at_last(two)


async def test_refused_clients_take_no_place(limited):
    async with limited(demo="max_connections = 2") as (one, two):
        for token in ("nonsense", token_for("other"), token_for(ttl=-60)):
            async with one.socket(token=token) as client:
                assert (await client.is_refused())[1] == 4401
        async with two.client(token_for()):
            pass


async def test_a_killed_node_gives_its_places_back_within_the_ttl(limited, tmp_path, postgres_url, redis_url):
    text = {"demo": "max_connections = 4\nmax_connections_per_user = 3", "top": "presence_ttl_seconds = 4"}
    (tmp_path / "realtime.toml").write_text(toml(postgres_url, redis_url, **text))
    port = free_port()
    command = ("gateway", "--config", "realtime.toml", "--host", "127.0.0.1", "--port", port)
    async with (
        limited(**text) as (one, two),
        running(*command, directory=tmp_path) as doomed,
        AsyncExitStack() as people,
    ):
        third = Gateway(one.settings, port, one.http)
        await eventually(lambda: is_ready(third))
        for _ in range(3):
            await enter(people, third)
        assert await refusal(two) == TOO_MANY
        await doomed.stop(signal.SIGKILL)
        await gets_in_at_last(two)
        for gateway in (one, two, one):  # all of them, and bob's own too
            await eventually(lambda gateway=gateway: enters(people, gateway))
        assert await refusal(two, "carol") == TOO_MANY


async def is_ready(gateway: Gateway) -> bool:
    with suppress(aiohttp.ClientConnectionError):
        return await gateway.is_ready()
    return False


async def enters(people: AsyncExitStack, gateway: Gateway) -> bool:
    client = await people.enter_async_context(gateway.socket(token=token_for(sub="bob")))
    return (await client.hear())["type"] == "connected"


# Half a handshake

IMPATIENT = Timings(http=HttpTimings(handshake_seconds=1.0))


HALVES = {
    "nothing": b"",
    "half a word": b"GE",
    "half a line": b"GET /projects/demo",
    "headers without an end": upgrade(WS_PATH)[:-2],
    "an empty line": b"\r\n",
}


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES.keys())
async def test_half_a_handshake_is_ended(limited, half):
    async with limited(IMPATIENT) as (one, _), wire(one.port) as client:
        await client.say(half)
        assert await client.hear_to_the_end() == b""


async def test_a_handshake_that_never_ends_is_ended(limited):
    async def drip(client: Wire) -> None:
        await client.say(upgrade(WS_PATH)[:-2])
        while True:
            await client.say(b"X-More: x\r\n")
            await asyncio.sleep(0.01)

    async with limited(IMPATIENT) as (one, _), wire(one.port) as client:
        dripping = asyncio.create_task(drip(client), name="drip")
        assert await client.hear_to_the_end() == b""
        with pytest.raises(ConnectionError):
            await dripping


async def test_who_has_asked_for_something_may_stay_and_ask_again(limited):
    patient = Timings(http=HttpTimings(handshake_seconds=2.0))  # enough for those who ask at once
    async with limited(patient) as (one, _), wire(one.port) as kept:
        await kept.say(request("/healthz"))
        await kept.hear_until(b'"ok"}')
        async with one.client() as client:
            for _ in range(2):
                async with wire(one.port) as silent:
                    assert await silent.hear_to_the_end() == b""
            assert (await client.ask(type="ping"))["type"] == "pong"
        await kept.say(request("/projects/demo/realtime/status", f"Authorization: Bearer {token_for()}"))
        head = await kept.hear_until(b"\r\n\r\n")
        assert b"200 OK" in head
        assert json.loads(await kept.hear_until(b"}"))["project_id"] == "demo"
