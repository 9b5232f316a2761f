"""Text from outside that is none: it is refused or mended, nobody else hears it, and no fault is logged."""

from __future__ import annotations

import asyncio
import json
import struct

import pytest

from tests.change_stream import DEADLINE
from tests.gateway_fixture import Gateway, token_for
from tests.raw_socket import CLOSE, frame, raw_socket

SERVICE = token_for(role="service_role")
PATH = "/projects/demo/realtime"

BODIES = {
    "in a payload": b'{"channel":"room:a","payload":"\xff"}',
    "deep in a payload": b'{"channel":"room:a","payload":{"a":["\xed\xa0\x80"]}}',
    "in one of several": b'{"messages":[{"channel":"room:a","payload":1},'
    b'{"channel":"room:a","payload":"\xff"}]}',
    "in a key": b'{"channel":"room:a","payload":{"\xff":1}}',
    "where nobody looks": b'{"channel":"room:a","payload":1,"more":"\xff"}',
    "a lone surrogate": b'{"channel":"room:a","payload":"\\ud800"}',
    "in a channel": b'{"channel":"room:\xff","payload":1}',
    "a NUL in a channel": b'{"channel":"room:\\u0000","payload":1}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_broadcast_that_no_client_could_read_is_sent_to_nobody(gateway: Gateway, body: bytes) -> None:
    async with gateway.client() as client:
        await client.subscribe("room:a")
        status, answer, _ = await gateway.rest(
            "POST", "/broadcast", SERVICE, data=body, headers={"Content-Type": "application/json"}
        )
        assert (status, answer["error"]["code"]) == (400, "invalid_request")
        await client.say(type="broadcast", channel="room:a", payload="the first")
        assert (await client.hear())["payload"] == "the first"


async def ask(
    gateway: Gateway, target: bytes, *headers: bytes, token: str | None = SERVICE
) -> tuple[int, bytes]:
    """Ask by hand, as no library would; status and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        lines = [b"GET " + target + b" HTTP/1.1", b"Host: x", b"Connection: close", *headers]
        if token is not None:
            lines.append(b"Authorization: Bearer " + token.encode())
        writer.write(b"\r\n".join(lines) + b"\r\n\r\n")
        async with asyncio.timeout(DEADLINE):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), body
    finally:
        writer.transport.abort()


TARGETS = {
    f"{PATH}/presence?channel=%ff": 400,
    f"{PATH}/presence?channel=room:%00": 400,
    f"{PATH}/presence?channel=room:%ed%a0%80": 200,  # mended by whoever reads the URL
    f"{PATH}/connections?user_id=%ff%00": 200,
    f"{PATH}/connections?before=%ff": 400,
    f"{PATH}/connections?limit=%d9%a1": 400,  # a digit, but no number
    f"{PATH}/connections?event=%ff": 400,
    "/projects/%ff/realtime/status": 404,
    "/projects/%00/realtime/status": 404,
    "/%ff": 404,
}


@pytest.mark.parametrize(("target", "expected"), TARGETS.items())
async def test_a_query_or_a_path_that_is_no_text_is_answered(
    gateway: Gateway, target: str, expected: int
) -> None:
    status, body = await ask(gateway, target.encode())
    assert status == expected, body
    json.loads(body)


RAW = [
    (PATH + "/presence?channel=room:", b"\xff"),
    (PATH + "/connections?user_id=", b"\xff"),
    (PATH + "/ws?token=", b"\xff"),
    ("/", b"\xff"),
    ("/projects/", b"\xff/realtime/status"),
]


@pytest.mark.parametrize(("path", "end"), RAW)
async def test_raw_bytes_in_a_target_are_refused(gateway: Gateway, path: str, end: bytes) -> None:
    status, _ = await ask(gateway, path.encode() + end)
    assert 400 <= status < 500


@pytest.mark.parametrize(
    "header",
    [
        b"Authorization: Bearer \xff",
        b"X-Request-Id: \xff",
        b"X-Forwarded-For: \xff",
        b"Origin: \xff",
        b"Content-Type: \xff",
        b"Sec-WebSocket-Protocol: realtime, \xff",
        b"Cookie: \xff",
        b"Accept-Encoding: \xff",
    ],
)
@pytest.mark.parametrize("path", ["/status", "/ws"])
async def test_a_header_that_is_no_text_is_no_fault_of_ours(
    gateway: Gateway, path: str, header: bytes
) -> None:
    status, body = await ask(gateway, (PATH + path).encode(), header, token=None)
    expected = {"forbidden"} if header.startswith(b"Origin") and path == "/ws" else {"unauthorized"}
    assert json.loads(body)["error"]["code"] in expected | {"invalid_request"}, status


@pytest.mark.parametrize("reason", [b"\xff", b"\xed\xa0\x80", b"bye\0", b"x" * 123])
async def test_the_reason_of_a_clients_close_is_kept_nowhere(gateway: Gateway, reason: bytes) -> None:
    async with raw_socket(gateway, token_for(sub="leaver")) as raw:
        raw.send(frame(CLOSE, struct.pack("!H", 4000) + reason))
        assert await raw.close_code() in (1000, 1007, 4000)
    async with asyncio.timeout(DEADLINE):
        while not (event := await last_end(gateway)):
            await asyncio.sleep(0.01)
    assert event["reason"] is None


async def last_end(gateway: Gateway) -> dict[str, object] | None:
    _, answer, _ = await gateway.rest("GET", "/connections?user_id=leaver&event=disconnect", SERVICE)
    return answer["connections"][0] if answer["connections"] else None
