"""A connection to the public port ends when it waits for too long, whatever it waits for, and not before."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from typing import Any

import pytest

from gateway.http import protocol
from gateway.http.timings import HttpTimings
from gateway.timings import Timings
from realtime.errors import ClientError, Code
from realtime.process.http_protocol import closing_bytes
from tests.gateway_fixture import Gateway, eventually, running_gateway, token_for
from tests.limits_fixture import WS_PATH, Wire, request, upgrade, wire

HEALTH, OK = request("/healthz"), b'"ok"}'
HALVES = {
    "a byte": b"G",
    "half a line": b"GET /healthz",
    "headers without an end": HEALTH[:-2],
    "an empty line": b"\r\n",
}


@pytest.fixture
async def impatient(settings) -> AsyncIterator[Gateway]:
    async with running_gateway(settings, timings=with_http(handshake_seconds=0.3)) as gateway:
        yield gateway


def with_http(**seconds: Any) -> Timings:
    return Timings(http=HttpTimings(**seconds))


@pytest.fixture
def crowded(settings) -> AbstractAsyncContextManager[Gateway]:
    """A gateway where three connections may wait."""
    return running_gateway(settings, timings=with_http(max_idle=3))


async def ask(client: Wire, sent: bytes = HEALTH) -> None:
    await client.say(sent)
    await client.hear_until(OK)


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
async def test_half_a_second_request_is_ended(impatient, half):
    async with wire(impatient.port) as client:
        await ask(client)
        await client.say(half)
        assert await client.hear_to_the_end() == b""


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
async def test_half_a_request_right_behind_another_is_ended(impatient, half):
    async with wire(impatient.port) as client:
        await ask(client, HEALTH + half)
        assert await client.hear_to_the_end() == b""


async def test_a_second_request_that_never_ends_is_ended(impatient):
    async def drip(client: Wire) -> None:
        await client.say(HEALTH[:-2])
        while True:
            await client.say(b"X-More: x\r\n")
            await asyncio.sleep(0.01)

    async with wire(impatient.port) as client:
        await ask(client)
        dripping = asyncio.create_task(drip(client), name="drip")
        assert await client.hear_to_the_end() == b""
        with pytest.raises(ConnectionError):
            await dripping


async def test_who_asked_may_be_idle_and_ask_again(impatient):
    body = b'{"table_name":"nowhere"}'
    bearer = f"Authorization: Bearer {token_for(role='service_role')}"
    lines = (bearer, "Content-Type: application/json", f"Content-Length: {len(body)}")
    post = request("/projects/demo/realtime/disable", *lines, method="POST")
    async with AsyncExitStack() as stack:
        by_get = await stack.enter_async_context(wire(impatient.port))
        await ask(by_get)
        by_post = await stack.enter_async_context(wire(impatient.port))
        await by_post.say(post + body)
        await by_post.hear_until(b"}}")
        # Connects last: it has so long for its first request, and the one before opens a session of Postgres.
        in_parts = await stack.enter_async_context(wire(impatient.port))
        for part in (post[:20], post[20:], body[:5], body[5:]):
            await in_parts.say(part)
            await asyncio.sleep(0)
        await in_parts.hear_until(b"}}")
        async with wire(impatient.port) as silent:  # for as long as this one lives
            assert await silent.hear_to_the_end() == b""
        for client in (by_get, by_post, in_parts):
            await ask(client)


async def test_an_open_websocket_is_no_request_that_does_not_end(impatient):
    async with impatient.client() as client, wire(impatient.port) as silent:
        assert await silent.hear_to_the_end() == b""
        assert (await client.ask(type="ping"))["type"] == "pong"


async def test_headers_that_are_too_long_together_are_refused_before_they_end(gateway):
    async with wire(gateway.port) as client:
        await ask(client)
        line = b"X-More: " + b"x" * 10_000 + b"\r\n"
        await client.say(HEALTH[:-2] + line * (protocol.MAX_HEAD_BYTES // len(line) + 1))
        heard = await client.hear_to_the_end()
        assert heard.startswith(b"HTTP/1.1 400 ")
        assert b'"code":"invalid_request"' in heard
        assert b"\r\nServer: realtime\r\n" in heard


async def test_of_those_who_wait_the_longest_waiting_makes_room(crowded):
    async with crowded as gateway, gateway.client() as client, AsyncExitStack() as stack:
        idle = [await stack.enter_async_context(wire(gateway.port)) for _ in range(3)]
        for one in idle:
            await ask(one)
        await ask(idle[0])  # now the second has waited longest
        newcomer = await stack.enter_async_context(wire(gateway.port))
        await ask(newcomer)
        assert await idle[1].hear_to_the_end() == b""
        for one in (idle[0], idle[2], newcomer):
            await ask(one)
        assert (await client.ask(type="ping"))["type"] == "pong"


async def test_who_goes_while_it_is_answered_takes_no_room_of_those_who_wait(crowded):
    async def are_recorded() -> bool:
        token = token_for(role="service_role")
        _, answer, _ = await gateway.rest("GET", "/connections?event=disconnect", token)
        return len(answer["connections"]) == 3

    async with crowded as gateway, wire(gateway.port) as live:
        await eventually(gateway.is_ready)
        await ask(live)
        for _ in range(3):
            async with wire(gateway.port) as client:
                await client.say(upgrade(f"{WS_PATH}?token={token_for()}"))
                await client.hear_until(b'"connected"')
                client.reset()
        await eventually(are_recorded)
        await ask(live)


async def test_an_answer_that_nobody_reads_is_given_up(settings):
    """Wait until the gateway has reset the connection."""
    async with running_gateway(settings, timings=with_http(answer_seconds=0.3)) as gateway:
        await is_given_up(gateway)


async def is_given_up(gateway: Gateway) -> None:
    plug = socket.socket()
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    plug.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plug, ("127.0.0.1", gateway.port))
    with plug:
        with suppress(ConnectionError):  # it may be given up before all is sent
            await asyncio.get_running_loop().sock_sendall(plug, request("/openapi.json") * 2_000)
        await eventually(lambda: is_reset(plug))


def is_reset(plug: socket.socket) -> bool:
    """Whether the other side has ended it; what came is not read."""
    try:
        plug.send(b"\r\n")
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return False


def test_what_is_refused_on_the_wire_has_the_form_of_all() -> None:
    head, _, body = closing_bytes(ClientError(Code.INVALID_REQUEST, "why")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
