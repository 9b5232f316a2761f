"""The private names of aiohttp that the door hangs on: whoever takes another aiohttp has to look at them."""

from __future__ import annotations

import inspect
import re

import aiohttp
from aiohttp import web
from aiohttp.http import WebSocketReader

from gateway.websocket.turns import Turns
from gateway.websocket.web_socket import WebSocket
from realtime.settings.config import Limits
from tests.docs_fixture import ROOT

BOUND = ">= 3.14, < 3.15"


def test_only_the_aiohttp_that_this_was_written_for_may_be_installed() -> None:
    (line,) = re.findall(r"^    aiohttp (.*)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    assert line == BOUND
    assert aiohttp.__version__.startswith("3.14.")


def test_a_response_puts_its_reader_in_place_in_post_start() -> None:
    parameters = inspect.signature(web.WebSocketResponse._post_start).parameters
    assert list(parameters) == ["self", "request", "protocol", "writer"]
    assert inspect.signature(WebSocket._post_start).parameters.keys() == parameters.keys()
    source = inspect.getsource(web.WebSocketResponse._post_start)
    assert "request.protocol.set_parser(" in source
    assert "await" not in source  # else bytes could come before the door is there
    assert "_post_start(" in inspect.getsource(web.WebSocketResponse.prepare)


def test_a_protocol_keeps_early_bytes_and_its_reader_under_these_names() -> None:
    assert {"_message_tail", "_payload_parser"} <= set(web.RequestHandler.__slots__)
    setting = inspect.getsource(web.RequestHandler.set_parser)
    assert "self._payload_parser = parser" in setting
    assert "self._payload_parser.feed_data(self._message_tail)" in setting
    receiving = inspect.getsource(web.RequestHandler.data_received)
    assert "eof, tail = self._payload_parser.feed_data(data)" in receiving
    assert "self._message_tail += data" in receiving
    assert "self._payload_parser.feed_eof()" in inspect.getsource(web.RequestHandler.connection_lost)


def test_a_reader_is_fed_as_the_door_feeds_it() -> None:
    assert callable(WebSocketReader.feed_data)
    assert callable(WebSocketReader.feed_eof)


def test_frames_reach_whoever_receives_and_nothing_else_is_done_about_them() -> None:
    web_socket = WebSocket(Limits(max_message_bytes=1_000), Turns())
    assert (web_socket._autoclose, web_socket._autoping, web_socket._compress) == (False, False, False)
    assert web_socket._max_msg_size == 1_001
