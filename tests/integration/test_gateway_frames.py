"""WebSocket frames as nobody should send them, each closed with its code beside a stream that goes on."""

from __future__ import annotations

import json
import struct

import pytest

from realtime.settings.config import Limits
from tests.expressions import value
from tests.gateway_fixture import eventually, running_gateway, settings_for, token_for
from tests.limits_fixture import WS_PATH, wire
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
    "text without a mask": (frame(TEXT, b'{"type":"ping"}', masked=False), 1002),
    "a ping without a mask": (frame(PING, b"", masked=False), 1002),
    "a close without a mask": (frame(CLOSE, b"\x03\xe8", masked=False), 1002),
    "a frame without a mask after a whole one": (frame(PONG, b"") + frame(PONG, b"", masked=False), 1002),
    "a length in more bytes than it needs": (b"\x81\xfe\x00\x02" + frame(TEXT, b"{}")[2:], 1002),
    "a new message amid an empty one": (frame(TEXT, b"", final=False) + frame(TEXT, b"{}"), 1002),
    "a message that was never begun, after an empty one": (
        frame(TEXT, b"", final=False) + frame(CONTINUATION, b"") + frame(CONTINUATION, b"{}"),
        1002,
    ),
}


async def test_a_breach_of_the_websocket_protocol_closes_with_its_code(gateway):
    codes = {}
    for name, (data, _) in VIOLATIONS.items():
        async with raw_socket(gateway) as raw:
            raw.send(data)
            codes[name] = await raw.close_code()
    assert codes == {name: code for name, (_, code) in VIOLATIONS.items()}


NEVER_SENT = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535]
SENT = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]


@pytest.mark.parametrize(("codes", "answer"), [(NEVER_SENT, 1002), (SENT, None)])
async def test_a_close_is_answered_and_recorded_by_what_its_code_is(gateway, codes, answer):
    """A code that never stands in a frame is a breach of the protocol; any other is answered with itself."""
    answers, ids = {}, {}
    closed = closes_counted(1002)
    for code in codes:
        async with raw_socket(gateway, greeted=False) as raw:
            ids[json.loads(await raw.text())["connection_id"]] = code
            raw.send(frame(CLOSE, struct.pack("!H", code) + b"bye"))
            answers[code] = await raw.close_code()
    assert answers == {code: answer or code for code in codes}
    assert await ends_of(gateway, ids) == {ids[one]: (answer or ids[one], None) for one in ids}
    assert closes_counted(1002) - closed == (len(codes) if answer == 1002 else 0)


async def test_a_close_without_a_code_is_no_loss_of_the_connection(gateway):
    """What a browser sends for `close()`."""
    async with raw_socket(gateway, greeted=False) as raw:
        ids = {json.loads(await raw.text())["connection_id"]: None}
        raw.send(frame(CLOSE, b""))
        assert await raw.close_code() == 1000
    assert await ends_of(gateway, ids) == {None: (1005, None)}


async def test_a_breach_is_counted_and_recorded_with_its_code(gateway):
    for data, code in [VIOLATIONS["text without a mask"], VIOLATIONS["half a character"]]:
        closed = closes_counted(code)
        async with raw_socket(gateway, greeted=False) as raw:
            ids = {json.loads(await raw.text())["connection_id"]: None}
            raw.send(data)
            assert await raw.close_code() == code
        assert await ends_of(gateway, ids) == {None: (code, None)}
        assert closes_counted(code) == closed + 1


def closes_counted(code: int) -> float:
    return value("realtime_gateway_closes_total", code=str(code))


async def ends_of(gateway, ids):
    """The code and the reason with which each of the connections is recorded to have ended."""

    async def recorded():
        token = token_for(role="service_role")
        _, answer, _ = await gateway.rest("GET", "/connections?event=disconnect&limit=100", token)
        ends = {one["connection_id"]: (one["code"], one["reason"]) for one in answer["connections"]}
        return ids.keys() <= ends.keys() and {ids[one]: ends[one] for one in ids}

    return await eventually(recorded)


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


NO_UPGRADES = {
    "a key that is not even ASCII": (b"Sec-WebSocket-Key", b"\xff" * 24),
    "a key with a blank in it": (b"Sec-WebSocket-Key", b"AAAAAAAAAAA AAAAAAAAAAA=="),
    "a key of another length": (b"Sec-WebSocket-Key", b"AAAAAAAAAAAAAAAAAAAAAAAA"),
    "an upgrade to what is no text": (b"Upgrade", b"\x80"),
    "a version that is no text": (b"Sec-WebSocket-Version", b"\xff"),
}


@pytest.mark.parametrize(("name", "value"), NO_UPGRADES.values(), ids=NO_UPGRADES)
async def test_what_is_no_upgrade_is_told_so_in_json(gateway, name, value):
    headers = {
        b"Upgrade": b"websocket",
        b"Connection": b"Upgrade",
        b"Sec-WebSocket-Version": b"13",
        b"Sec-WebSocket-Key": b"AAAAAAAAAAAAAAAAAAAAAA==",
    }
    lines = [f"GET {WS_PATH}?token={token_for()} HTTP/1.1".encode(), b"Host: x"]
    lines += [each + b": " + text for each, text in (headers | {name: value}).items()]
    async with wire(gateway.port) as plug:
        await plug.say(b"\r\n".join([*lines, b"", b""]))
        assert b" 400 " in await plug.hear_until(b"\r\n\r\n")
        assert b'"invalid_request"' in await plug.hear_until(b"}}")


async def test_a_small_limit_of_a_project_is_its_own(database_url, redis_url):
    settings = settings_for(database_url, redis_url, limits=Limits(max_message_bytes=1024))
    async with running_gateway(settings) as gateway, gateway.client() as client:
        assert (await client.ask(type="nope", x="x" * 900))["code"] == "unknown_type"
        await client.say(type="ping", x="x" * 1024)
        assert await client.hear_close() == 1009
