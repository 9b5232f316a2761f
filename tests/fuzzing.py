"""What a fuzzer says to a gateway, and what any answer must look like: frames, and upgrades.

Runs in a thread, on sockets that block. Each example is a connection of its own. REALTIME_FUZZ_EXAMPLES and
REALTIME_FUZZ_SEED choose how many and which.
"""

from __future__ import annotations

import os
import re
import select
import socket
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from gateway.websocket.frame_rules import may_close_with
from tests.limits_fixture import WS_PATH, upgrade
from tests.raw_socket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame

EXAMPLES = int(os.environ.get("REALTIME_FUZZ_EXAMPLES", "1000"))
SEED = int(os.environ.get("REALTIME_FUZZ_SEED", "0"))
DEADLINE = 20.0  # for the gateway to end a connection that we have ended
QUIET_SECONDS = 0.02  # after which no further answer is waited for
STATUSES = {101, *range(400, 500), 503}  # whatever is wrong is the client's mistake, or Redis is away

# Frames

MESSAGES = [
    b'{"type":"ping","ref":1}',
    b'{"type":"subscribe","channel":"table:orders"}',
    b'{"type":"subscribe","channel":"room:a","since":"x"}',
    b'{"type":"unsubscribe","channel":"room:a"}',
    b'{"type":"broadcast","channel":"room:fuzz","payload":{"a":[1,2]},"ref":"r"}',
    b'{"type":"presence","state":{"a":1},"channel":"room:fuzz","ref":2}',
    b'{"type":"auth","token":"x.y.z"}',
    b'{"type":"nothing"}',
    b"{",
    b"[" * 5_000,
    "žluťoučký 🦀".encode(),
    b'"\xed\xa0\x80"',
    b"\xff",
    b"",
]
payloads = st.one_of(st.sampled_from(MESSAGES), st.binary(max_size=200), st.text(max_size=50).map(str.encode))
opcodes = st.sampled_from([CONTINUATION, TEXT, TEXT, TEXT, BINARY, CLOSE, PING, PONG])
closes = st.builds(lambda code, reason: struct.pack("!H", code) + reason, st.integers(0, 65_535), payloads)


def _lie(first: int, length: int, payload: bytes, long: bool) -> bytes:
    """A header that promises another length than comes."""
    size = struct.pack("!BQ", 0xFF, length) if long else struct.pack("!BH", 0xFE, length & 0xFFFF)
    return bytes([first]) + size + b"mask" + payload


lengths = st.sampled_from([0, 1, 125, 126, 65_535, 65_536, 65_537, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1])
good_frames = st.builds(frame, opcodes, payloads.filter(lambda payload: len(payload) < 126))
frames = st.one_of(
    good_frames,
    st.builds(frame, st.just(TEXT), payloads),
    st.builds(frame, st.just(CLOSE), closes.map(lambda payload: payload[:125])),
    st.builds(frame, opcodes, payloads, final=st.booleans()),
    st.builds(frame, st.integers(0, 0x7F), payloads, final=st.booleans(), masked=st.booleans()),
    st.builds(_lie, st.integers(0, 255), lengths, payloads, st.booleans()),
)


@st.composite
def fragments(draw: st.DrawFn) -> bytes:
    """A message cut anywhere, also amid a character, with control frames between its parts."""
    message, sent = draw(payloads), b""
    cuts = sorted(draw(st.lists(st.integers(0, len(message)), max_size=6)))
    parts = [message[start:end] for start, end in zip([0, *cuts], [*cuts, len(message)], strict=True)]
    for number, part in enumerate(parts):
        sent += frame(CONTINUATION if number else TEXT, part, final=number == len(parts) - 1)
        if draw(st.booleans()):
            sent += frame(draw(st.sampled_from([PING, PONG])), b"between")
    return sent


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """Good frames of which some bytes were changed, doubled or lost."""
    data = bytearray(b"".join(draw(st.lists(good_frames, min_size=1, max_size=5))))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1)) if data else 0
        data[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
    return bytes(data)


many = st.builds(lambda one, count: one * count, good_frames, st.integers(1, 300))
streams = st.lists(st.one_of(frames, fragments(), mutations(), many, st.binary(max_size=300)), max_size=8)


def converse(plug: socket.socket, pieces: list[bytes]) -> bytes:
    """Send the pieces one by one, and return all that comes until the gateway ends the connection."""
    heard = bytearray()
    with suppress(ConnectionError):
        for piece in pieces:
            plug.sendall(piece)
        while select.select([plug], [], [], QUIET_SECONDS)[0]:
            if not (data := plug.recv(65_536)):
                return bytes(heard)
            heard += data
        plug.shutdown(socket.SHUT_WR)
        while data := plug.recv(65_536):
            heard += data
    return bytes(heard)


def check_frames(heard: bytes) -> str:
    """Whatever a client did, it hears whole frames, text that is UTF-8, and codes that may be sent."""
    end, at = "no close", 0
    while len(heard) - at >= 2:
        first, length, at = heard[at], heard[at + 1], at + 2
        if length > 125:
            size = 2 if length == 126 else 8
            length, at = int.from_bytes(heard[at : at + size], "big"), at + size
        payload, at = heard[at : at + length], at + length
        assert first in {0x80 | opcode for opcode in (TEXT, CLOSE, PING, PONG)}, hex(first)
        assert end == "no close", "something after the close"
        if at > len(heard):
            break  # the end of the connection cut it
        if first & 0x0F == TEXT:
            payload.decode()
        elif first & 0x0F == CLOSE:
            (code,) = struct.unpack("!H", payload[:2])
            assert may_close_with(code) or 4000 <= code < 5000, code
            end = str(code)
    return end


def fuzz_frames(port: int, token: str, examples: int) -> Counter[str]:
    """How the connections ended."""
    ends: Counter[str] = Counter()

    @given(streams, st.lists(st.integers(1, 2_000), max_size=5))
    def one(parts: list[bytes], cuts: list[int]) -> None:
        data, pieces = b"".join(parts), []
        for cut in cuts:
            pieces.append(data[:cut])
            data = data[cut:]
        with connected(port) as plug:
            plug.sendall(upgrade(f"{WS_PATH}?token={token}"))
            head, heard = b"", b""
            while b"\r\n\r\n" not in head:
                head += plug.recv(1)
            assert b" 101 " in head, head
            heard = converse(plug, [*pieces, data])
            ends[check_frames(heard)] += 1

    run(one, examples)
    return ends


# Upgrades

values = st.one_of(
    st.sampled_from(
        [b"websocket", b"WebSocket", b"Upgrade", b"keep-alive, Upgrade", b"13", b"8", b"12", b""]
    ),
    st.sampled_from(
        [b"dGhlIHNhbXBsZSBub25jZQ==", b"realtime", b"realtime, x.y.z", b"http://localhost", b"null"]
    ),
    st.sampled_from(
        [b"permessage-deflate; client_max_window_bits=99", b"x" * 17_000, b", " * 500, b"chunked"]
    ),
    st.binary(max_size=60),
    st.text(max_size=30).map(lambda text: text.encode("utf-8", "surrogatepass")),
).map(lambda value: re.sub(rb"[\r\n\0]", b"", value))
NAMES = """
    Upgrade Connection Sec-WebSocket-Key Sec-WebSocket-Version Sec-WebSocket-Protocol Sec-WebSocket-Extensions
    Origin Host Authorization User-Agent X-Forwarded-For X-Request-Id Cookie Expect Content-Length
    Transfer-Encoding Accept-Encoding
"""
names = st.sampled_from(NAMES.encode().split())
GOOD = {
    b"Upgrade": b"websocket",
    b"Connection": b"Upgrade",
    b"Sec-WebSocket-Version": b"13",
    b"Sec-WebSocket-Key": b"dGhlIHNhbXBsZSBub25jZQ==",
}
headers = st.lists(st.tuples(names, values), max_size=3)
paths = st.one_of(
    st.just(WS_PATH),
    st.just(WS_PATH),
    st.just(WS_PATH),
    st.sampled_from(
        ["/projects/nobody/realtime/ws", "/projects/%ff/realtime/ws", WS_PATH + "/", "/%00", "*"]
    ),
)


def fuzz_upgrades(port: int, token: str, examples: int) -> Counter[str]:
    """What the upgrades were answered with."""
    answers: Counter[str] = Counter()

    @given(paths, st.one_of(st.none(), st.sampled_from(list(GOOD))), headers, headers, st.booleans())
    def one(path: str, left_out: bytes | None, before: list, behind: list, has_token: bool) -> None:
        lines = [f"GET {path}?{f'token={token}' if has_token else ''} HTTP/1.1".encode(), b"Host: x"]
        good = [(name, value) for name, value in GOOD.items() if name != left_out]
        lines += [name + b": " + value for name, value in (*before, *good, *behind)]
        with connected(port) as plug:
            heard = converse(plug, [b"\r\n".join([*lines, b"", b""]), frame(TEXT, MESSAGES[0])])
            if not heard:
                answers["nothing"] += 1  # a body is waited for that does not come
                return
            status = re.match(rb"HTTP/1\.[01] (\d{3}) ", heard)
            assert status, (lines, heard[:500])
            assert int(status[1]) in STATUSES, (lines, heard[:500])
            answers[status[1].decode()] += 1

    run(one, examples)
    return answers


def run(one: Callable[..., None], examples: int) -> None:
    """Try so many examples, the same ones with the same seed; one that fails is made smaller, and told."""
    limits = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    seed(SEED)(limits(one))()


def connected(port: int) -> socket.socket:
    plug = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
    plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return plug
