"""HTTP as bytes: whatever comes is answered in JSON or not at all, without a 500 and without a hang.

The shapes are those by which requests are smuggled, and those that no library sends. `gateway` fails a test
for an error in the log, and for a token there.
"""

from __future__ import annotations

import json
import random
import re
from contextlib import suppress

import pytest

from tests.gateway_fixture import running_gateway, token_for
from tests.limits_fixture import request, upgrade, wire

TOKEN = token_for(role="service_role")
STATUS = "/projects/demo/realtime/status"
BEARER = f"Authorization: Bearer {TOKEN}"
CODES = {"invalid_request", "unauthorized", "not_found", "method_not_allowed", "unsupported_media_type"}


def get(target: bytes, *headers: bytes, line: bytes = b"GET %b HTTP/1.1") -> bytes:
    return b"\r\n".join([line % target, b"Host: x", BEARER.encode(), *headers, b"", b""])


def post(*headers: bytes, body: bytes = b"") -> bytes:
    kind = b"Content-Type: application/json"
    return get(b"/projects/demo/realtime/enable", kind, *headers, line=b"POST %b HTTP/1.1") + body


HERE = STATUS.encode()
LAST = request("/last", "Connection: close")  # where a connection is kept it is ended by this
UNPARSABLE = {
    "no HTTP": b"nonsense\r\n\r\n",
    "a handshake of TLS": b"\x16\x03\x01\x02\x00\x01\xfc\x03\x03\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a lower-case method": get(HERE, line=b"get %b HTTP/1.1"),
    "a method of our own": get(HERE, line=b"NOPE %b HTTP/1.1"),
    "no version": get(HERE, line=b"GET %b"),
    "HTTP/9.9": get(HERE, line=b"GET %b HTTP/9.9"),
    "HTTP/2.0": get(HERE, line=b"GET %b HTTP/2.0"),
    "HTTP/0.9": get(HERE, line=b"GET %b HTTP/0.9"),
    "no host": f"GET {STATUS} HTTP/1.1\r\n\r\n".encode(),
    "two hosts": get(HERE, b"Host: y"),
    "a space in the target": get(HERE + b" x"),
    "a NUL in the target": get(HERE + b"\0"),
    "a long target": get(b"/" + b"x" * 20_000),
    "a NUL in a header": get(HERE, b"X: a\0b"),
    "a NUL in a name": get(HERE, b"X\0: a"),
    "a CR in a header": get(HERE, b"X: a\rb"),
    "a folded header": get(HERE, b"X: a\r\n b"),
    "a header without colon": get(HERE, b"nonsense"),
    "a header without name": get(HERE, b": x"),
    "a space in a name": get(HERE, b"X y: x"),
    "a space before the colon": get(HERE, b"Content-Length : 5"),
    "a name that is not ASCII": get(HERE, b"\xff: x"),
    "a long header": get(HERE, b"X: " + b"x" * 20_000),
    "10,000 headers": get(HERE, *(b"X-%d: x" % number for number in range(10_000))),
    "100 headers of 10 kB": get(HERE, *(b"X-%d: " % number + b"x" * 10_000 for number in range(100))),
    "two lengths": post(b"Content-Length: 5", b"Content-Length: 6", body=b"{}   "),
    "two equal lengths": post(b"Content-Length: 2", b"Content-Length: 2", body=b"{}"),
    "a list of lengths": post(b"Content-Length: 2, 2", body=b"{}"),
    "a length with a sign": post(b"Content-Length: +2", body=b"{}"),
    "a negative length": post(b"Content-Length: -2", body=b"{}"),
    "a hexadecimal length": post(b"Content-Length: 0x2", body=b"{}"),
    "a length beyond 64 bits": post(b"Content-Length: 99999999999999999999", body=b"{}"),
    "a length and chunks": post(b"Content-Length: 2", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "chunks and a length": post(b"Transfer-Encoding: chunked", b"Content-Length: 2", body=b"0\r\n\r\n"),
    "chunks, but not at last": post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"),
    "chunks by another name": post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "bare line feeds": get(HERE).replace(b"\r\n", b"\n"),
}  # fmt: skip

ODD = {
    "absolute form": get(b"http://x" + HERE),
    "absolute form of another host": get(b"http://evil.example" + HERE),
    "absolute form without path": get(b"http://x"),
    "absolute form of a broken address": get(b"http://[::1/"),
    "absolute form of a port that is none": get(b"http://x:99999/"),
    "absolute form of a port in letters": get(b"http://x:y/"),
    "absolute form with a user": get(b"http://a:b@x" + HERE),
    "another scheme": get(b"gopher://x/"),
    "authority form": get(b"x:80", line=b"CONNECT %b HTTP/1.1"),
    "authority form of an address that is none": get(b"[::1:80", line=b"CONNECT %b HTTP/1.1"),
    "authority form by GET": get(b"x:80"),
    "asterisk form": get(b"*", line=b"OPTIONS %b HTTP/1.1"),
    "asterisk form by GET": get(b"*"),
    "HTTP/1.0": get(HERE, line=b"GET %b HTTP/1.0"),
    "HTTP/1.0 that is kept": get(HERE, b"Connection: keep-alive", line=b"GET %b HTTP/1.0"),
    "%00 in the path": get(b"/projects/demo%00/realtime/status"),
    "%ff in the path": get(b"/projects/%ff/realtime/status"),
    "a slash in the path": get(b"/projects/demo%2Frealtime/realtime/status"),
    "half a percent": get(b"/projects/%/realtime/%f"),
    "dots": get(b"/projects/demo/../demo/realtime/./status"),
    "dots that are encoded": get(b"/projects/demo/%2e%2e/demo/realtime/status"),
    "two slashes": get(b"//projects/demo/realtime/status"),
    "a backslash": get(b"/projects\\demo\\realtime\\status"),
    "bytes in the path": get(b"/projects/\xff\xfe/realtime/status"),
    "bytes in the query": get(b"/projects/demo/realtime/presence?channel=\xff\xfe"),
    "%ff in the query": get(b"/projects/demo/realtime/presence?channel=room:%ff"),
    "%00 in the query": get(b"/projects/demo/realtime/presence?channel=room:%00"),
    "a surrogate in the query": get(b"/projects/demo/realtime/presence?channel=room:%ed%a0%80"),
    "a name of bytes": get(b"/projects/demo/realtime/presence?%ff=%ff"),
    "a fragment": get(HERE + b"#x"),
    "a bracket in the query": get(HERE + b"?[x]=[y]&{z}"),
    "bytes in a header": get(HERE, b"X-Request-Id: \xff\xfe", b"User-Agent: A\xffB", b"Origin: \xff"),
    "bytes in the token": request(STATUS, "Authorization: Bearer \udcff"),
    "bytes in the host": f"GET {STATUS} HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n".encode("latin-1"),
    "an empty host": f"GET {STATUS} HTTP/1.1\r\nHost:\r\n\r\n".encode(),
    "an expectation": get(HERE, b"Expect: nonsense"),
    "an expectation in bytes": get(HERE, b"Expect: \xff\xfe"),
    "an upgrade to something else": get(HERE, b"Connection: Upgrade", b"Upgrade: h2c", b"HTTP2-Settings: x"),
    "an upgrade in bytes": get(HERE, b"Connection: Upgrade", b"Upgrade: \xff"),
    "an old WebSocket": get(b"/projects/demo/realtime/ws", b"Sec-WebSocket-Key1: x"),
    "a WebSocket without a key": get(
        b"/projects/demo/realtime/ws", b"Connection: Upgrade", b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13"
    ),
    "a WebSocket with a key in bytes": get(
        b"/projects/demo/realtime/ws", b"Connection: Upgrade", b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: \xff\xff"
    ),
    "a body with GET": get(HERE, b"Content-Length: 5") + b"hello",
    "no body with POST": post(),
    "chunks": post(b"Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n"),
    "chunks with extensions": post(b"Transfer-Encoding: chunked", body=b"2;x=y\r\n{}\r\n0;z\r\n\r\n"),
    "chunks with trailers": post(b"Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\nX: y\r\n\r\n"),
    "a chunk of a wrong size": post(b"Transfer-Encoding: chunked", body=b"zz\r\n{}\r\n0\r\n\r\n"),
    "a chunk of a huge size": post(b"Transfer-Encoding: chunked", body=b"f" * 20 + b"\r\n{}\r\n0\r\n\r\n"),
    "a chunk without an end": post(b"Transfer-Encoding: chunked", body=b"2\r\n{}xx0\r\n\r\n"),
    "a body that is no gzip": post(b"Content-Encoding: gzip", b"Content-Length: 2", body=b"{}"),
    "a body in an unknown encoding": post(b"Content-Encoding: nope", b"Content-Length: 2", body=b"{}"),
    "a charset that there is not": get(HERE, b"Content-Type: application/json; charset=nope"),
    "a request behind another": get(HERE) + get(b"/nowhere"),
    "rubbish behind a request": get(HERE) + b"rubbish\r\n\r\n",
    "empty lines in front": b"\r\n\r\n" + get(HERE),
}  # fmt: skip


def answers(heard: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """The answers on a connection: status, headers and body of each."""
    found = []
    while heard:
        head, _, rest = heard.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version in ("HTTP/1.0", "HTTP/1.1")
        headers = {name.lower(): text for name, text in (line.split(": ", 1) for line in lines)}
        size = int(headers.get("content-length", 0))
        found.append((int(status), headers, rest[:size]))
        heard = rest[size:]
    return found


async def heard_from(port: int, sent: bytes) -> bytes:
    async with wire(port) as client:
        with suppress(ConnectionError):  # ended while it was sent
            await client.say(sent + LAST)
        return await client.hear_to_the_end()


def check(status: int, headers: dict[str, str], body: bytes) -> str | None:
    """An answer is in JSON, and says nothing of our software; return the code of an error."""
    assert status < 500
    assert headers["server"] == "realtime"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    if status == 204:
        return None
    assert headers["content-type"].startswith("application/json")
    answer = json.loads(body)
    if status < 400:
        return None
    assert set(answer) == {"error"}
    assert set(answer["error"]) == {"code", "message"}
    assert TOKEN[:8] not in body.decode()
    return answer["error"]["code"]


@pytest.mark.parametrize("sent", UNPARSABLE.values(), ids=UNPARSABLE)
async def test_what_cannot_be_parsed_is_an_invalid_request_and_ends_the_connection(gateway, sent):
    (answer,) = answers(await heard_from(gateway.port, sent))
    assert (answer[0], check(*answer)) == (400, "invalid_request")
    assert answer[1]["connection"] == "close"


@pytest.mark.parametrize("sent", ODD.values(), ids=ODD)
async def test_what_is_odd_is_answered_in_json(gateway, sent):
    found = answers(await heard_from(gateway.port, sent))
    assert found
    for answer in found:
        assert check(*answer) in CODES | {None}


@pytest.mark.parametrize("seed", range(4))
async def test_what_is_broken_by_chance_is_answered_in_json_or_not_at_all(gateway, seed):
    chance, shapes = random.Random(seed), [*UNPARSABLE.values(), *ODD.values()]
    for _ in range(100):
        one, other = (chance.choice(shapes)[:20_000] for _ in range(2))
        broken = bytearray(one[: chance.randrange(len(one) + 1)] + other[chance.randrange(len(other) + 1) :])
        for _ in range(chance.randrange(4)):
            broken.insert(chance.randrange(len(broken) + 1), chance.choice(b"\r\n\0\xff: /?%"))
        for answer in answers(await heard_from(gateway.port, bytes(broken) + b"\r\n\r\n")):
            assert check(*answer) in CODES | {None}, bytes(broken)


async def test_the_refusal_quotes_nothing_of_the_request(gateway):
    for headers in [b"X: secret\0", b"secret", b"X: " + b"secret" * 10_000]:
        assert b"secret" not in await heard_from(gateway.port, get(HERE, headers))


async def test_the_internal_port_tells_no_version_either(settings):
    async with running_gateway(settings, internal=True) as gateway:
        for sent in [request("/healthz"), request("/nowhere"), b"x\r\n\r\n", b""]:
            assert gateway.internal_port is not None
            heard = await heard_from(gateway.internal_port, sent)
            assert b"\r\nServer: realtime\r\n" in heard
            assert not re.search(rb"(?i)python|aiohttp", heard)


@pytest.mark.parametrize("version", ["0", "7", "8", "12", "14", "13, 8", ""])
async def test_an_upgrade_by_a_draft_or_an_unknown_version_is_no_upgrade(gateway, version):
    sent = upgrade(f"/projects/demo/realtime/ws?token={TOKEN}").replace(
        b"Version: 13", f"Version: {version}".encode()
    )
    status, headers, body = answers(await heard_from(gateway.port, sent))[0]
    assert (status, check(status, headers, body)) == (400, "invalid_request")


async def test_nothing_is_compressed_on_a_websocket(gateway):
    asked = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
    async with wire(gateway.port) as client:
        await client.say(upgrade(f"/projects/demo/realtime/ws?token={TOKEN}", asked))
        head = await client.hear_until(b"\r\n\r\n")
        assert b" 101 " in head
        assert b"Extensions" not in head


async def test_an_upgrade_tells_no_version_either(gateway):
    async with wire(gateway.port) as client:
        await client.say(upgrade(f"/projects/demo/realtime/ws?token={TOKEN}"))
        head = await client.hear_until(b"\r\n\r\n")
        assert b"\r\nServer: realtime\r\n" in head
        assert b" 101 " in head
