"""Whatever a client sends: it gets its named error, and another client's stream goes on meanwhile.

Each test runs beside a stream of changes to a bystander, which must stay complete and in order, and above a
log in which no error and no token may stand.
"""

from __future__ import annotations

import asyncio
import json

import pytest

from realtime.settings.config import Limits, Settings
from tests.change_stream import DEADLINE
from tests.gateway_fixture import eventually, settings_for, token_for
from tests.raw_socket import PING, TEXT, frame, raw_socket

pytestmark = pytest.mark.usefixtures("bystander")

DEEP = 10_000


@pytest.fixture
def settings(database_url: str, redis_url: str) -> Settings:
    """Without the limit on messages a second, which would stop what is tested here earlier."""
    return settings_for(database_url, redis_url, limits=Limits(messages_per_second=1_000_000))


async def code_of(gateway, text: str) -> str:
    """The code of the error that a text gets, from a connection that lives on."""
    async with gateway.client() as client:
        answer = await client.ask_raw(text)
        assert answer["type"] == "error", answer
        assert (await client.ask(type="ping"))["type"] == "pong"
        return answer["code"]


BROKEN = {
    "nothing": "",
    "spaces": "   ",
    "a word": "hello",
    "half an object": '{"type":"ping"',
    "two objects": '{"type":"ping"}{"type":"ping"}',
    "single quotes": "{'type':'ping'}",
    "a trailing comma": '{"type":"ping",}',
    "a comment": '{"type":"ping"} // x',
    "a raw control character": '{"type":"ping","x":"a\nb"}',
    "a byte order mark": '\ufeff{"type":"ping"}',
    "a lone high surrogate": r'{"type":"ping","ref":"\ud800"}',
    "a lone low surrogate": r'{"type":"subscribe","channel":"room:\udc00"}',
    "a surrogate before something else": r'{"type":"subscribe","channel":"room:\ud800A"}',
    "a surrogate where nobody looks": r'{"type":"ping","x":"\ud800"}',
    "a surrogate in an unknown type": r'{"type":"\ud800"}',
    "arrays that never close": '{"type":"ping","x":' + "[" * DEEP,
    "10,000 arrays": '{"type":"ping","x":' + "[" * DEEP + "]" * DEEP + "}",
    "10,000 objects": '{"x":' + '{"x":' * DEEP + "1" + "}" * DEEP + ',"type":"ping"}',
    "arrays alone": "[" * DEEP + "]" * DEEP,
    "depth in an unknown type": '{"type":"nope","x":' + "[" * DEEP + "]" * DEEP + "}",
    "an unknown type, then rubbish": '{"type":"nope","x":[}',
    "NaN": '{"type":"ping","ref":NaN}',
    "Infinity": '{"type":"ping","ref":-Infinity}',
    "hexadecimal": '{"type":"ping","ref":0x10}',
    "a number that begins with 0": '{"type":"ping","ref":007}',
}


async def test_what_is_no_json_is_told_so(gateway):
    codes = {name: await code_of(gateway, text) for name, text in BROKEN.items()}
    assert codes == dict.fromkeys(BROKEN, "invalid_json")


MEANINGLESS = [
    "[]",
    '"ping"',
    "5",
    "null",
    "true",
    "{}",
    '{"type":null}',
    '{"type":5}',
    '{"type":["ping"]}',
    '{"Type":"ping"}',
    '{"type":"subscribe"}',
    '{"type":"subscribe","channel":5}',
    '{"type":"subscribe","channel":["room:a"]}',
    '{"type":"subscribe","channel":null}',
    '{"type":"unsubscribe"}',
    '{"type":"auth"}',
    '{"type":"auth","token":5}',
    '{"type":"ping","ref":1.5}',
    '{"type":"ping","ref":1e400}',
    '{"type":"ping","ref":[]}',
    '{"type":"ping","ref":true}',
    '{"type":"ping","ref":"' + "x" * 65 + '"}',
    '{"type":"ping","ref":1' + "0" * 10_000 + "}",
]


async def test_json_that_is_no_message_is_told_so(gateway):
    codes = {text: await code_of(gateway, text) for text in MEANINGLESS}
    assert codes == dict.fromkeys(MEANINGLESS, "invalid_message")


KINDS = ["", "nope", "PING", "ping ", "__proto__", "x" * 60_000, "\0", "🦀", "realtime", "error"]


async def test_an_unknown_type_is_told_so(gateway):
    codes = {kind: await code_of(gateway, json.dumps({"type": kind})) for kind in KINDS}
    assert codes == dict.fromkeys(KINDS, "unknown_type")


async def test_huge_numbers_where_nobody_looks_do_no_harm(gateway):
    async with gateway.client() as client:
        for number in ["1e999999", "-1e999999", "9" * 5_000, "0." + "1" * 5_000, "1" + "0" * 60_000]:
            assert (await client.ask_raw(f'{{"type":"ping","x":{number}}}'))["type"] == "pong"


CHANNELS = {
    "empty": "",
    "no namespace": ":a",
    "no topic": "room:",
    "no colon": "room",
    "a table without a name": "table:",
    "too many parts": "table:a.b.c",
    "an unknown event": "table:users:TRUNCATE",
    "an open quote": 'table:"users',
    "presence of presence": "presence:presence:room:a",
    "256 bytes": "room:" + "x" * 251,
    "256 bytes of 129 characters": "room:x" + "ä" * 125,
    "60,000 bytes": "room:" + "x" * 60_000,
    "a NUL": "room:\0",
    "a newline": "room:a\nb",
    "an escape": "room:\x1b[31m",
    "a delete": "room:\x7f",
    "a C1 control": "room:\x85",
    "a line separator": "room:\u2028",
    "a right-to-left override": "room:\u202eabc",
    "a space in front": " room:a",
    "a space behind": "room:a ",
    "a NUL in a table": 'table:"a\0b"',
}


async def test_what_is_no_channel_is_told_so(gateway):
    for kind in ["subscribe", "unsubscribe"]:
        messages = {name: {"type": kind, "channel": channel} for name, channel in CHANNELS.items()}
        codes = {name: await code_of(gateway, json.dumps(message)) for name, message in messages.items()}
        assert codes == dict.fromkeys(CHANNELS, "invalid_channel")


COMMANDS = [
    "table:users; drop table users; --",
    "table:users' or '1'='1",
    "table:users where true",
    'table:"users""; drop table users; --"',
    "table:$1",
    "table:%s",
    "table:\\",
    "room:*",
    "room:{a}{b}",
    "room:}:meta",
    "room:" + "x" * 250,
    r"room:a\r\nFLUSHALL",
]


async def test_a_channel_meant_as_a_command_is_a_name_like_any_other(gateway, sql):
    async with gateway.client() as client:
        for channel in COMMANDS:
            await client.subscribe(channel)
            assert (await client.ask(type="unsubscribe", channel=channel))["type"] == "unsubscribed"
    assert await sql.fetchval("select to_regclass('users') is not null")


async def test_a_wrong_token_in_auth_is_refused_and_the_old_stays_in_force(gateway):
    strangers = [token_for("other"), token_for(sub="bob"), token_for(sub=None)]
    codes: dict[object, str] = dict.fromkeys(
        ["", "x", "..", "a.b.c", "\0", "🦀", "x" * 60_000, *strangers], "unauthorized"
    )
    codes |= {None: "invalid_message", 5: "invalid_message", token_for(ttl=-60): "token_expired"}
    heard = {token: await code_of(gateway, json.dumps({"type": "auth", "token": token})) for token in codes}
    assert heard == codes


async def test_10_000_messages_at_once_are_answered_in_order(gateway):
    async with raw_socket(gateway) as raw:
        raw.send(b"".join(frame(TEXT, b'{"type":"ping","ref":%d}' % number) for number in range(10_000)))
        refs = [json.loads(await raw.text())["ref"] for _ in range(10_000)]
    assert refs == list(range(10_000))


async def test_1_000_subscriptions_and_as_many_leaves_at_once_are_answered_in_order(gateway):
    async with raw_socket(gateway) as raw:
        for number in range(1_000):
            for kind in ["subscribe", "unsubscribe"]:
                message = {"type": kind, "channel": f"table:t{number % 7}", "ref": number}
                raw.send(frame(TEXT, json.dumps(message).encode()))
        answers = [json.loads(await raw.text()) for _ in range(2_000)]
    assert [answer["ref"] for answer in answers] == [number // 2 for number in range(2_000)]


async def test_10_000_bad_messages_are_each_told_so(gateway):
    async with raw_socket(gateway) as raw:
        raw.send(frame(TEXT, b"{") * 10_000)
        codes = {json.loads(await raw.text())["code"] for _ in range(10_000)}
    assert codes == {"invalid_json"}


@pytest.mark.parametrize(
    "sent", [b"", frame(PING, b"x") * 2_000, frame(TEXT, b"{") * 2_000, frame(TEXT, b"{")[:3]]
)
async def test_clients_that_vanish_without_a_word_leave_nothing_behind(gateway, sent):
    """Wait until the node knows of no connection but that of the bystander."""
    for _ in range(20):
        async with raw_socket(gateway) as raw:
            raw.send(sent)
            raw.writer.transport.abort()
    await eventually(lambda: bystander_is_alone(gateway))


async def test_clients_that_are_refused_and_vanish_leave_nothing_behind(gateway):
    """Wait until the node knows of no connection but that of the bystander."""
    for _ in range(20):
        async with raw_socket(gateway, token="nonsense", greeted=False) as raw:
            raw.writer.transport.abort()
    await eventually(lambda: bystander_is_alone(gateway))


async def bystander_is_alone(gateway):
    """Whether the node knows of one connection; `gateway` fails the test for an error in the log."""
    _, status, _ = await gateway.rest("GET", "/status", token_for())
    return status["connections"] == 1


FLOODS = {
    "a thousand headers": b"".join(b"X-%d: x\r\n" % number for number in range(1_000)),
    "one header of a megabyte": b"X: " + b"x" * 1_000_000 + b"\r\n",
    "a header without colon": b"nonsense\r\n",
    "a header with a NUL": b"X: a\0b\r\n",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n",
    "a length and chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
}


@pytest.mark.parametrize("headers", FLOODS.values(), ids=FLOODS)
async def test_headers_that_are_no_good_get_400(gateway, headers):
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        path = f"/projects/demo/realtime/status?token={token_for()}"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n".encode() + headers + b"\r\n")
        assert b" 400 " in await asyncio.wait_for(reader.readline(), DEADLINE)
    finally:
        writer.transport.abort()


@pytest.mark.parametrize(
    "line", [b"\x16\x03\x01\x02\x00\x01\xfc\x03\x03", b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
)
async def test_what_is_no_http_gets_400(gateway, line):
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        writer.write(line + b"\r\n\r\n")
        assert b" 400 " in await asyncio.wait_for(reader.readline(), DEADLINE)
    finally:
        writer.transport.abort()
