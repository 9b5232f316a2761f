"""WebSocket frames as nobody should send them, each closed with its code beside a stream that goes on."""

from __future__ import annotations

import json

import pytest

from realtime.config import Limits
from tests.gateway_fixture import running_gateway, settings_for
from tests.raw_socket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame, raw_socket

pytestmark = pytest.mark.usefixtures("bystander")

LIMIT = 65_536


async def test_a_frame_at_the_limit_is_taken_and_one_byte_more_closes(gateway):
    message = '{"type":"ping","x":"%s"}'
    room = LIMIT - len(message % "")
    async with gateway.client() as client:
        assert (await client.ask_raw(message % ("x" * room)))["type"] == "pong"
        await client.web_socket.send_str(message % ("x" * (room + 1)))
        assert await client.hear_close() == 1009


async def test_fragments_over_the_limit_together_close(gateway):
    async with raw_socket(gateway) as raw:
        raw.send(frame(TEXT, b'{"type":"ping","x":"', final=False))
        for _ in range(80):
            raw.send(frame(CONTINUATION, b"x" * 1_000, final=False))
        assert await raw.close_code() == 1009


async def test_a_length_beyond_all_bounds_closes_before_it_is_sent(gateway):
    for length in [LIMIT + 1, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1]:
        async with raw_socket(gateway) as raw:
            raw.send(b"\x81\xff" + length.to_bytes(8, "big") + b"mask" + b"x" * 10)
            assert await raw.close_code() in (1002, 1009)


VIOLATIONS = {
    "a binary frame": (frame(BINARY, b"{}"), 1003),
    "text that is not UTF-8": (frame(TEXT, b"\xff\xfe"), 1007),
    "half a character": (frame(TEXT, b'"\xc3'), 1007),
    "an encoded surrogate": (frame(TEXT, b'"\xed\xa0\x80"'), 1007),
    "an overlong slash": (frame(TEXT, b'"\xc0\xaf"'), 1007),
    "a reserved bit": (frame(TEXT | 0x40, b"{}"), 1002),
    "an opcode nobody knows": (frame(0x3, b"{}"), 1002),
    "a control opcode nobody knows": (frame(0xB, b""), 1002),
    "a ping in fragments": (frame(PING, b"x", final=False), 1002),
    "a ping of 126 bytes": (frame(PING, b"x" * 126), 1002),
    "a continuation of nothing": (frame(CONTINUATION, b"x"), 1002),
    "a new message amid another": (frame(TEXT, b"{", final=False) + frame(TEXT, b"}"), 1002),
    "a close of one byte": (frame(CLOSE, b"x"), 1002),
    "a close with a forbidden code": (frame(CLOSE, b"\x03\xed"), 1002),
}


async def test_a_breach_of_the_websocket_protocol_closes_with_its_code(gateway):
    codes = {}
    for name, (data, _) in VIOLATIONS.items():
        async with raw_socket(gateway) as raw:
            raw.send(data)
            codes[name] = await raw.close_code()
    assert codes == {name: code for name, (_, code) in VIOLATIONS.items()}


async def test_a_message_in_fragments_with_a_ping_between_is_one_message(gateway):
    async with raw_socket(gateway) as raw:
        for byte in b'{"type":"ping",':
            raw.send(frame(CONTINUATION if byte != 123 else TEXT, bytes([byte]), final=False))
        raw.send(frame(PING, b"hello") + frame(CONTINUATION, b'"ref":1}'))
        assert await raw.frame() == (PONG, b"hello")
        assert json.loads(await raw.text())["ref"] == 1


async def test_frames_byte_by_byte_are_frames(gateway):
    async with raw_socket(gateway) as raw:
        for byte in frame(TEXT, b'{"type":"ping","ref":"slow"}'):
            raw.send(bytes([byte]))
            await raw.writer.drain()
        assert json.loads(await raw.text())["ref"] == "slow"


async def test_a_small_limit_of_a_project_is_its_own(database_url, redis_url):
    settings = settings_for(database_url, redis_url, limits=Limits(max_message_bytes=1024))
    async with running_gateway(settings) as gateway, gateway.client() as client:
        assert (await client.ask(type="nope", x="x" * 900))["code"] == "unknown_type"
        await client.say(type="ping", x="x" * 1024)
        assert await client.hear_close() == 1009
