"""No token in any line of the log, at any level: good and bad ones, sent in every way that a client may find.

Each token is told apart from all others. A gateway that logs all it can is sent them, well and malformed;
afterwards neither a token nor a piece of one stands in what it wrote.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

import aiohttp
import pytest

from tests.acceptance.programs import running
from tests.gateway_fixture import eventually, token_for
from tests.limits_fixture import WS_PATH, request, toml, upgrade, wire
from tests.ports import free_port
from tests.raw_socket import BINARY, CLOSE, PING, TEXT, frame

REST = "/projects/demo/realtime"
PIECE = 12  # characters of a token that would tell too much


@dataclass
class Tokens:
    """Makes tokens and remembers them."""

    made: list[str] = field(default_factory=list)

    def good(self, **more) -> str:
        return self._keep(token_for(sub=f"needle-{secrets.token_hex(16)}", **more))

    def expired(self) -> str:
        return self.good(ttl=-3600)

    def forged(self) -> str:
        """Like a good one, but for its signature."""
        return self._keep(token_for(sub=f"needle-{secrets.token_hex(16)}")[:-10] + "AAAAAAAAAA")

    def opaque(self) -> str:
        """Nothing that looks like a JWT."""
        return self._keep(f"needle{secrets.token_hex(24)}")

    def all_kinds(self) -> Iterator[str]:
        yield from (self.good(), self.expired(), self.forged(), self.opaque())

    def _keep(self, token: str) -> str:
        self.made.append(token)
        return token

    def found_in(self, log: str) -> list[str]:
        """The pieces of tokens in a log, each with what stands before it."""
        pieces = {token[at : at + PIECE] for token in self.made for at in range(len(token) - PIECE + 1)}
        windows = (log[at : at + PIECE] for at in range(len(log) - PIECE + 1))
        return [log[max(0, at - 80) : at + PIECE] for at, one in enumerate(windows) if one in pieces]


def well_formed(token: str) -> Iterator[bytes]:
    """The three ways to bring a token, as an upgrade and as a plain request."""
    for head in (upgrade, request):
        yield head(f"{WS_PATH}?token={token}")
        yield head(f"{WS_PATH}?x=1&token={token}&y=2", "Origin: https://evil.example.com")
        yield head(WS_PATH, f"Authorization: Bearer {token}")
        yield head(WS_PATH, f"Sec-WebSocket-Protocol: realtime, {token}")


def misplaced(token: str) -> Iterator[bytes]:
    """What people do who read the page only once."""
    for offered in (
        token,
        f"{token}, realtime",
        f"realtime, {token}, more",
        f"other, {token}",
        f"Bearer {token}",
    ):
        yield upgrade(WS_PATH, f"Sec-WebSocket-Protocol: {offered}")
    yield upgrade(WS_PATH, f"Authorization: {token}")
    yield upgrade(WS_PATH, f"Authorization: Basic {token}")
    yield upgrade(f"{WS_PATH}?token={token}", "Sec-WebSocket-Version: 99").replace(
        b"Version: 13\r\n", b"Was: 13\r\n"
    )
    yield upgrade(f"{WS_PATH}?token={token}").replace(b"dGhlIHNhbXBsZSBub25jZQ==", token.encode())
    yield upgrade(f"{WS_PATH}?TOKEN={token}&token=%ff%00&token")
    yield request(f"/projects/{token}/realtime/ws?token={token}")
    yield request(f"{REST}/{token}", f"Authorization: Bearer {token}")
    yield request(f"/{token}?{token}", method="DELETE")
    yield request(f"{REST}/status?token={token}", f"Cookie: token={token}", f"X-Token: {token}")


def malformed(token: str) -> Iterator[bytes]:
    """What no HTTP server can understand."""
    bearer, url = f"Authorization: Bearer {token}", f"{WS_PATH}?token={token}"
    yield upgrade(WS_PATH, bearer + "\0")
    yield upgrade(WS_PATH, bearer + "\x01\x7f")
    yield upgrade(WS_PATH, f"Authorization Bearer {token}")
    yield upgrade(WS_PATH, f"Autho rization: Bearer {token}")
    yield upgrade(WS_PATH, f" {bearer}")
    yield upgrade(WS_PATH, bearer, "Host: twice", "Content-Length: x" + token)
    yield upgrade(WS_PATH, bearer + "x" * 20_000)
    yield upgrade(WS_PATH, f"{token}{'x' * 20_000}: Bearer")
    yield upgrade(f"{url}{'x' * 20_000}")
    yield upgrade(f"{url} {token}")
    yield upgrade(f"{url}\x01")
    yield upgrade(f"{url}\udcff\udcfe")
    yield upgrade(url).replace(b"HTTP/1.1", b"HTTP/9.9")
    yield upgrade(url).replace(b"HTTP/1.1", token.encode())
    yield upgrade(url).replace(b"GET ", b"GE\x01T ")
    yield upgrade(url).replace(b"GET ", token.encode() + b" ")
    yield upgrade(url).replace(b"\r\n", b"\n")
    yield upgrade(f"http://[nonsense/?token={token}")
    yield upgrade(f"http://localhost:{token}/")
    yield upgrade(f"//{token}@:x/")
    yield token.encode() + b"\r\n\r\n"
    yield f'{{"type":"auth","token":"{token}"}}\r\n\r\n'.encode()
    yield (
        request(f"{REST}/broadcast", "Transfer-Encoding: chunked", method="POST")
        + token.encode()
        + b"\r\n\r\n"
    )
    yield (
        request(f"{REST}/broadcast", bearer, "Content-Encoding: gzip", "Content-Length: 5", method="POST")
        + b"xxxxx"
    )
    yield upgrade(url) + token.encode() * 20  # no frames follow
    yield upgrade(url) + request(url)


def bodies(token: str) -> Iterator[bytes]:
    for body in (
        token,
        f'"{token}"',
        f'{{"table_name":["{token}"]}}',
        f'{{"channel":"{token}","payload":1}}',
        f'{{"{token}',
    ):
        for path in ("enable", "broadcast"):
            headers = (f"Authorization: Bearer {token}", "Content-Type: application/json")
            yield (
                request(f"{REST}/{path}", *headers, f"Content-Length: {len(body)}", method="POST")
                + body.encode()
            )


def frames(token: str) -> Iterator[bytes]:
    """Messages of one client, the last of which ends it."""
    for text in (
        f'{{"type":"auth","token":"{token}"}}',
        f'{{"type":"auth","token":["{token}"]}}',
        f'{{"type":"auth","token":"{token}',
        f'{{"type":"{token}"}}',
        f'{{"type":"ping","ref":"{token}"}}',
        f'{{"type":"subscribe","channel":"{token}"}}',
        f'{{"type":"subscribe","channel":"table:{token}"}}',
        f'{{"type":"subscribe","channel":"table:a","since":"{token}"}}',
        f'{{"type":"presence","state":"{token}"}}',
        token,
    ):
        yield frame(TEXT, text.encode())
    yield frame(PING, token.encode()[:100])


def last_frames(token: str) -> Iterator[bytes]:
    yield frame(BINARY, token.encode())
    yield frame(TEXT, token.encode() + b"\xff")
    yield frame(TEXT, token.encode() * 500)
    yield frame(0x3, token.encode()[:100])
    yield frame(CLOSE, token.encode()[:100])
    yield frame(CLOSE, (4000).to_bytes(2, "big") + token.encode()[:100])


async def send(port: int, data: bytes) -> bytes:
    """Send something and an orderly goodbye; return the beginning of the answer."""
    async with wire(port) as client:
        await client.say(data)
        return await client.reader.read(65_536)


async def talk(port: int, token: str, words: list[bytes]) -> None:
    """Get in, and say all this."""
    async with wire(port) as client:
        await client.say(upgrade(f"{WS_PATH}?token={token}"))
        await client.hear_until(b'"connected"')
        await client.say(b"".join(words) + frame(CLOSE, (1000).to_bytes(2, "big")))
        await client.hear_to_the_end()


@pytest.mark.parametrize(
    ("asyncio_debug", "log_format"), [("", "json"), ("1", "text")], ids=["JSON", "text and asyncio debug"]
)
async def test_no_token_is_logged_at_any_level(tmp_path, postgres_url, redis_url, asyncio_debug, log_format):
    (tmp_path / "realtime.toml").write_text(
        toml(postgres_url, redis_url, projects='allowed_origins = ["https://*.a.b"]')
    )
    port, tokens = free_port(), Tokens()
    command = ("gateway", "--config", "realtime.toml", "--host", "127.0.0.1", "--port", port)
    environment = {
        "PYTHONASYNCIODEBUG": asyncio_debug,
        "LOG_LEVEL": "DEBUG",
        "LOG_FORMAT": log_format,
    }
    async with running(*command, directory=tmp_path, environment=environment) as gateway:
        await eventually(lambda: is_ready(port))
        kinds = (well_formed, misplaced, malformed, bodies)
        for kind, one in itertools.product(
            kinds, (tokens.good, tokens.expired, tokens.forged, tokens.opaque)
        ):
            for data in kind(one()):
                assert await send(port, data), data
        for last in last_frames(tokens.good()):
            for said in tokens.all_kinds():
                await talk(port, tokens.good(), [*frames(said), last])
        assert await is_ready(port)
        await gateway.stop()
        assert tokens.found_in(gateway.errors) == []
        for event in ("connection_opened", "connection_refused", "request_refused"):
            assert event in gateway.errors


async def is_ready(port: int) -> bool:
    try:
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientConnectionError:
        return False
