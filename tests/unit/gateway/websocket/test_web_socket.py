"""A WebSocket over a transport of the test's own: frames, both ways to close, what an idle client holds."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from aiohttp import EofStream, WebSocketError, WSMsgType
from aiohttp.http import WebSocketReader
from aiohttp.web_ws import WebSocketDataQueue  # type: ignore[attr-defined]

from gateway.websocket import web_socket as module
from gateway.websocket.turns import Turns
from gateway.websocket.web_socket import WebSocket, utf8_bytes
from gateway.wire.frames import close_frame
from realtime.settings.config import Limits
from tests.change_stream import DEADLINE
from tests.gateway_fixture import eventually
from tests.raw_socket import CLOSE, CONTINUATION, PING, TEXT, frame

LIMITS = Limits(max_message_bytes=1_000)


class Network:
    """A transport that notes what is written, and loses the connection when it is closed."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.waiting = 0
        self.is_read = True
        self.state = "open"

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True

    def write(self, data: bytes) -> None:
        assert self.state == "open"
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.state != "open"

    def close(self) -> None:
        self.state = "closed" if self.state == "open" else self.state

    def abort(self) -> None:
        self.state = "aborted"

    def get_write_buffer_size(self) -> int:
        return self.waiting


def opened(network: Network, early: bytes = b"") -> WebSocket:
    web_socket = WebSocket(cast(Any, network), early, LIMITS, Turns())
    web_socket.open(lambda controls, fragments: None)
    return web_socket


def close_of(code: int) -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big"))


async def received(web_socket: WebSocket) -> tuple[WSMsgType, Any]:
    message = await asyncio.wait_for(web_socket.receive(), DEADLINE)
    return message.type, message.data


async def test_the_queue_asks_its_protocol_for_this_name_and_no_other() -> None:
    queue = WebSocketDataQueue(module._UNPAUSED, 2**20, loop=asyncio.get_running_loop())
    reader = WebSocketReader(queue, 1_001, False, True)
    assert reader.feed_data(frame(TEXT, b"x")) == (False, b"")
    with pytest.raises(StopIteration) as end:
        queue.read().send(None)
    assert end.value.value.data == "x"
    reader.feed_eof()
    with pytest.raises(EofStream):
        queue.read().send(None)


async def test_a_client_that_says_nothing_has_no_reader_and_no_queue() -> None:
    web_socket = opened(Network())
    for payload in (b"one", b"two"):
        assert (web_socket._reader, web_socket._queue) == (None, None)
        web_socket.data_received(frame(TEXT, payload))
        assert await received(web_socket) == (WSMsgType.TEXT, payload.decode())
    assert (web_socket._reader, web_socket._queue) == (None, None)


async def test_a_message_in_pieces_and_fragments_with_a_ping_between_comes_whole() -> None:
    web_socket = opened(Network())
    data = frame(TEXT, b"a", final=False) + frame(PING, b"p") + frame(CONTINUATION, b"b") + frame(TEXT, b"c")
    for at in range(len(data)):
        web_socket.data_received(data[at : at + 1])
    assert await received(web_socket) == (WSMsgType.PING, b"p")
    assert await received(web_socket) == (WSMsgType.TEXT, "ab")
    assert await received(web_socket) == (WSMsgType.TEXT, "c")
    web_socket.data_received(frame(TEXT, b"a", final=False) + frame(PING, b"p"))
    assert await received(web_socket) == (WSMsgType.PING, b"p")
    assert web_socket._reader is not None  # it has the first fragment
    web_socket.data_received(frame(CONTINUATION, b"b"))
    assert await received(web_socket) == (WSMsgType.TEXT, "ab")


async def test_who_waits_gets_what_comes_later() -> None:
    web_socket = opened(Network())
    waiting = asyncio.create_task(received(web_socket), name="wait")
    for piece in (b"", frame(TEXT, b"x")[:3], frame(TEXT, b"x")[3:]):
        await asyncio.sleep(0)
        assert not waiting.done()
        web_socket.data_received(piece)
    assert await waiting == (WSMsgType.TEXT, "x")


async def test_what_came_before_it_was_opened_comes_first() -> None:
    network = Network()
    web_socket = WebSocket(cast(Any, network), frame(TEXT, b"early"), LIMITS, Turns())
    assert not network.is_read
    web_socket.data_received(frame(TEXT, b"later"))
    assert web_socket.untaken_bytes > 0
    web_socket.open(lambda controls, fragments: None)
    assert await received(web_socket) == (WSMsgType.TEXT, "early")
    assert await received(web_socket) == (WSMsgType.TEXT, "later")
    assert (web_socket.untaken_bytes, network.is_read) == (0, True)


@pytest.mark.parametrize("code", [1000, 4321])
async def test_a_close_of_the_client_is_answered_with_its_code(code) -> None:
    network = Network()
    web_socket = opened(network)
    web_socket.data_received(close_of(code))
    assert await received(web_socket) == (WSMsgType.CLOSE, code)
    assert (network.written, network.state, web_socket.close_code) == ([close_frame(code)], "closed", code)
    web_socket.connection_lost(None)
    assert (await received(web_socket))[0] is WSMsgType.CLOSING


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (close_of(1006), 1002),
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, b"x" * 1_001), 1009),
        (frame(CONTINUATION, b"x"), 1002),
    ],
)
async def test_a_violation_closes_with_its_code_after_what_came_before_it(bad, code) -> None:
    network = Network()
    web_socket = opened(network)
    web_socket.data_received(frame(TEXT, b"good") + bad)
    assert await received(web_socket) == (WSMsgType.TEXT, "good")
    kind, error = await received(web_socket)
    assert (kind, isinstance(error, WebSocketError), error.code) == (WSMsgType.ERROR, True, code)
    assert (network.written, network.state) == ([close_frame(code)], "closed")


async def test_a_close_by_this_node_waits_for_that_of_the_client() -> None:
    network = Network()
    web_socket = opened(network)
    closing = asyncio.create_task(web_socket.close(code=4404), name="close")
    await asyncio.sleep(0)
    assert network.written == [close_frame(4404)]
    web_socket.data_received(frame(TEXT, b"not taken any more"))
    await asyncio.sleep(0)
    assert network.state == "open"
    web_socket.data_received(close_of(4404))
    await asyncio.wait_for(closing, DEADLINE)
    assert (network.state, web_socket.close_code) == ("closed", 4404)
    assert (await received(web_socket))[0] is WSMsgType.CLOSED


async def test_a_close_by_this_node_has_an_end_if_the_client_does_not_answer(monkeypatch) -> None:
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0)
    network = Network()
    await asyncio.wait_for(opened(network).close(code=4404), DEADLINE)
    assert (network.written, network.state) == ([close_frame(4404)], "closed")


async def test_a_close_by_this_node_ends_the_wait_for_a_message() -> None:
    network = Network()
    web_socket = opened(network)
    waiting = asyncio.create_task(received(web_socket), name="wait")
    await asyncio.sleep(0)
    await asyncio.wait_for(web_socket.close(code=1001), DEADLINE)
    assert (await waiting)[0] is WSMsgType.CLOSING
    assert (network.written, network.state) == ([close_frame(1001)], "closed")
    await web_socket.close(code=1000)  # once is enough
    assert network.written == [close_frame(1001)]


async def test_a_close_waits_until_the_client_reads_or_is_gone() -> None:
    for go_on in (WebSocket.resume_writing, lambda one: one.connection_lost(None)):
        network = Network()
        web_socket = opened(network)
        web_socket.pause_writing()
        waiting = asyncio.create_task(received(web_socket), name="wait")
        await asyncio.sleep(0)
        closing = asyncio.create_task(web_socket.close(code=1001), name="close")
        for _ in range(5):
            await asyncio.sleep(0)
        assert (network.state, waiting.done()) == ("open", False)
        go_on(web_socket)
        await asyncio.wait_for(closing, DEADLINE)
        await asyncio.wait_for(waiting, DEADLINE)
        assert network.state == "closed"


async def test_a_lost_connection_ends_receiving_after_what_came_before() -> None:
    network = Network()
    web_socket = opened(network)
    web_socket.data_received(frame(TEXT, b"last words"))
    network.abort()
    web_socket.connection_lost(None)
    assert await received(web_socket) == (WSMsgType.TEXT, "last words")
    assert (await received(web_socket))[0] is WSMsgType.CLOSED
    assert web_socket.close_code == 1006
    web_socket.write_frame(b"nobody")
    await web_socket.close(code=1000)
    assert network.written == []


async def test_who_waits_hears_that_the_connection_is_lost() -> None:
    network = Network()
    web_socket = opened(network)
    waiting = asyncio.create_task(received(web_socket), name="wait")
    await asyncio.sleep(0)
    network.abort()
    web_socket.connection_lost(None)
    assert (await waiting)[0] is WSMsgType.CLOSED


async def test_a_fault_of_the_intake_ends_this_connection_alone() -> None:
    network = Network()
    web_socket = opened(network)
    web_socket._intake._walk = None  # type: ignore[assignment]
    web_socket.data_received(frame(TEXT, b"x"))
    assert network.state == "aborted"


async def test_the_end_aborts_a_client_that_does_not_read_what_is_left(monkeypatch) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0)
    for waiting, state in ((0, "closed"), (1, "aborted")):
        network = Network()
        network.waiting = waiting
        opened(network).end()
        await eventually(lambda: network.state == state)  # noqa: B023


def test_the_size_of_a_message_is_that_of_its_utf8() -> None:
    assert (utf8_bytes("abc"), utf8_bytes("é")) == (3, 2)
