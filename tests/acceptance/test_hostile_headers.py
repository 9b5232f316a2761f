"""What a client puts into its headers harms nobody: a real gateway, and a bystander that stays connected."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from realtime.auth.tokens import SERVICE_ROLE
from tests.acceptance.conftest import Stage
from tests.acceptance.programs import client_of
from tests.acceptance.served import Served, served
from tests.change_stream import DEADLINE
from tests.gateway_fixture import token_for

HEADERS = {
    "a browser that is no UTF-8": (b"User-Agent: A\xffB", "A\ufffdB", "127.0.0.1"),
    "a browser in Latin-1": (b"User-Agent: M\xfcnchen", "M\ufffdnchen", "127.0.0.1"),
    "a browser of 10,000 bytes that are no UTF-8": (
        b"User-Agent: " + b"\xff" * 10_000,
        "\ufffd" * 256,
        "127.0.0.1",
    ),
    "an encoded surrogate": (b"User-Agent: \xed\xa0\x80", "\ufffd" * 3, "127.0.0.1"),
    "a terminal's control sequence": (b"User-Agent: \xc2\x9b31m", "\ufffd31m", "127.0.0.1"),
    "a zone that is no UTF-8": (b"X-Forwarded-For: fe80::1%\xff", None, "fe80::1"),
    "a zone": (b"X-Forwarded-For: fe80::1%eth0", None, "fe80::1"),
    "an address that is no UTF-8": (b"X-Forwarded-For: \xff", None, "127.0.0.1"),
}


@pytest.fixture
async def behind_a_proxy(messages: Stage) -> AsyncIterator[Served]:
    """A gateway that believes what this machine says of addresses."""
    messages.write('trusted_proxies = ["127.0.0.1"]', project=('allowed_origins = ["*"]',))
    async with served(messages) as parts:
        yield parts


@asynccontextmanager
async def upgraded(port: int, header: bytes) -> AsyncIterator[asyncio.StreamReader]:
    """Open a WebSocket by hand with a header more, and read the answer to the upgrade."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    token = token_for(sub="mallory")
    try:
        writer.write(
            f"GET /projects/demo/realtime/ws?token={token} HTTP/1.1\r\nHost: x\r\n".encode()
            + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            + b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            + header
            + b"\r\n\r\n"
        )
        async with asyncio.timeout(DEADLINE):
            assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        yield reader
    finally:
        writer.transport.abort()


async def first_frame(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(DEADLINE):
        _, length = await reader.readexactly(2)
        if length == 126:
            (length,) = struct.unpack("!H", await reader.readexactly(2))
        return await reader.readexactly(length)


async def last_connection(url: str, user_id: str) -> tuple[str | None, str]:
    headers = {"Authorization": f"Bearer {token_for(role=SERVICE_ROLE)}"}
    address = f"{url}/projects/demo/realtime/connections?event=connect&user_id={user_id}&limit=1"
    async with aiohttp.ClientSession(headers=headers) as http, http.get(address) as answer:
        assert answer.status == 200, await answer.text()
        (event,) = (await answer.json())["connections"]
        return event["user_agent"], event["ip"]


async def test_no_header_ends_a_gateway_and_history_tells_what_can_be_told(behind_a_proxy: Served) -> None:
    (port,) = behind_a_proxy.ports
    async with client_of(behind_a_proxy.url, token_for(sub="bystander")) as bystander:
        await bystander.subscribe("room:lobby")
        for name, (header, agent, address) in HEADERS.items():
            async with upgraded(port, header) as reader:
                assert b'"connected"' in await first_frame(reader), name
            assert await last_connection(behind_a_proxy.url, "mallory") == (agent, address), name
            await bystander.say(type="broadcast", channel="room:lobby", payload=name)
            assert (await bystander.hear())["payload"] == name
    assert behind_a_proxy.gateway.status is None
    assert "part_failed" not in behind_a_proxy.gateway.errors
    assert await behind_a_proxy.gateway.stop() == 0


async def test_an_origin_that_is_no_origin_is_refused_where_every_origin_is_allowed(
    behind_a_proxy: Served,
) -> None:
    (port,) = behind_a_proxy.ports
    async with upgraded(port, b"Origin: https://\xff.example.com") as reader:
        assert b'"forbidden"' in await first_frame(reader)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /projects/demo/realtime/status HTTP/1.1\r\nHost: x\r\nOrigin: https://\xff\r\n\r\n")
    async with asyncio.timeout(DEADLINE):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()
    assert b" 401 " in head
    assert b"Access-Control-Allow-Origin" not in head
    assert "Error handling request" not in behind_a_proxy.gateway.errors
