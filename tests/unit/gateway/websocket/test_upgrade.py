"""A connection leaves aiohttp: it takes what came behind the upgrade along, and nothing of aiohttp is left.

The private names of aiohttp that this hangs on stand here: whoever takes another aiohttp has to look at them.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import weakref
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gateway.websocket.upgrade import Upgrade, take_over
from tests.change_stream import DEADLINE
from tests.docs_fixture import ROOT
from tests.gateway_fixture import eventually

BOUND = ">= 3.14, < 3.15"
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def test_only_the_aiohttp_that_this_was_written_for_may_be_installed() -> None:
    (line,) = re.findall(r"^    aiohttp (.*)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    assert line == BOUND
    assert aiohttp.__version__.startswith("3.14.")


def test_a_response_puts_its_reader_in_place_in_post_start() -> None:
    parameters = inspect.signature(web.WebSocketResponse._post_start).parameters
    assert list(parameters) == ["self", "request", "protocol", "writer"]
    assert inspect.signature(Upgrade._post_start).parameters.keys() == parameters.keys()
    source = inspect.getsource(web.WebSocketResponse._post_start)
    assert "request.protocol.set_parser(" in source
    assert "request.protocol.keep_alive(False)" in source
    assert "_post_start(" in inspect.getsource(web.WebSocketResponse.prepare)


def test_a_protocol_keeps_early_bytes_under_this_name() -> None:
    assert "_message_tail" in web.RequestHandler.__slots__
    receiving = inspect.getsource(web.RequestHandler.data_received)
    assert "self._message_tail = tail" in receiving
    assert "self._message_tail += data" in receiving
    assert "self._pause_reading_for_buffer()" in receiving  # so that there is a bound


class Follower(asyncio.Protocol):
    """Says everything back."""

    def __init__(self, transport: asyncio.Transport, early: bytes) -> None:
        self.transport = transport
        self.is_lost = False
        transport.write(b"<" + early + b">")

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True


class Server:
    """An application that gives its connections away; `follower` is the last one's protocol."""

    def __init__(self) -> None:
        app = web.Application()
        app.router.add_get("/", self.handle)
        self.runner = web.AppRunner(app, access_log=None)
        self.follower: Follower | None = None
        self.left: list[weakref.ref[Any]] = []  # what aiohttp made for the last connection

    async def handle(self, request: web.Request) -> web.StreamResponse:
        upgrade = Upgrade()
        await upgrade.prepare(request)
        self.left = [weakref.ref(request), weakref.ref(upgrade), weakref.ref(request.task)]
        take_over(request, self.follow)
        assert (upgrade.prepared, request.transport) == (True, None)
        return upgrade

    def follow(self, transport: asyncio.Transport, early: bytes) -> Follower:
        self.follower = Follower(transport, early)
        return self.follower


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    await server.runner.setup()
    await web.TCPSite(server.runner, "127.0.0.1", 0).start()
    try:
        yield server
    finally:
        await server.runner.cleanup()


async def upgraded(server: Server, more: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect and upgrade, with more bytes behind it; return the streams once the follower has answered."""
    reader, writer = await asyncio.open_connection(*server.runner.addresses[0][:2])
    writer.write(REQUEST + more)
    async with asyncio.timeout(DEADLINE):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert await reader.readuntil(b">") == b"<" + more + b">"
    return reader, writer


async def test_what_came_behind_the_upgrade_and_all_that_comes_later_goes_to_the_next_protocol(
    server,
) -> None:
    reader, writer = await upgraded(server, b"early")
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    async with asyncio.timeout(DEADLINE):
        assert await reader.readexactly(18) == b"GET / HTTP/1.1\r\n\r\n"
    writer.close()
    await eventually(lambda: server.follower.is_lost)


async def test_nothing_of_aiohttp_is_left_and_the_connection_is_open(server) -> None:
    _, writer = await upgraded(server)
    await eventually(lambda: not server.runner.server.connections)
    # By counts of references alone: garbage that waits for a collection is memory, too.
    await eventually(lambda: [ref() for ref in server.left] == [None] * 3)
    assert not server.follower.transport.is_closing()
    writer.close()


async def test_aiohttp_ends_no_connection_that_was_taken_over_when_the_server_stops(server) -> None:
    reader, writer = await upgraded(server)
    await server.runner.cleanup()
    writer.write(b"still here")
    async with asyncio.timeout(DEADLINE):
        assert await reader.readexactly(10) == b"still here"
    server.follower.transport.close()
    async with asyncio.timeout(DEADLINE):
        assert await reader.read() == b""
    writer.close()


async def test_a_connection_that_nothing_follows_is_aborted(server, monkeypatch) -> None:
    def fail(transport: asyncio.Transport, early: bytes) -> Follower:
        raise ZeroDivisionError

    monkeypatch.setattr(server, "follow", fail)
    reader, writer = await asyncio.open_connection(*server.runner.addresses[0][:2])
    writer.write(REQUEST)
    async with asyncio.timeout(DEADLINE):
        with suppress(ConnectionError):
            assert (await reader.read()).startswith(b"HTTP/1.1 101 ")
    await eventually(lambda: not server.runner.server.connections)
    writer.close()


async def test_a_client_that_is_gone_cannot_be_taken_over(server) -> None:
    class Gone:
        transport = None

    class Request:
        protocol = Gone()

    with pytest.raises(ConnectionError):
        take_over(Request(), server.follow)  # type: ignore[arg-type]
    assert server.follower is None
