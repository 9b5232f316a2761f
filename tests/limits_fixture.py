"""What the tests of limits share: settings as an operator writes them, and clients without manners."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from tests.change_stream import DEADLINE
from tests.gateway_fixture import SECRET

WS_PATH = "/projects/demo/realtime/ws"


def toml(
    database_url: str, redis_url: str, *, demo: str = "", common: str = "", top: str = "", projects: str = ""
) -> str:
    """Settings of the projects `demo`, with limits of its own, and `other`, with the common ones."""
    project = f"database_url = {json.dumps(database_url)}\njwt_secret = {json.dumps(SECRET)}\n{projects}\n"
    return (
        f"redis_url = {json.dumps(redis_url)}\ndrain_seconds = 0\n{top}\n[limits]\n{common}\n"
        f"[projects.demo]\n{project}[projects.demo.limits]\n{demo}\n[projects.other]\n{project}"
    )


def request(path: str = WS_PATH, *headers: str, method: str = "GET") -> bytes:
    """A request as it stands on the wire, up to the empty line."""
    lines = (f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", "")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


def upgrade(path: str, *headers: str) -> bytes:
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    version = "Sec-WebSocket-Version: 13"
    return request(path, "Upgrade: websocket", "Connection: Upgrade", key, version, *headers)


@dataclass(frozen=True)
class Wire:
    """A TCP connection to a gateway, to say whatever one likes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def hear_until(self, words: bytes) -> bytes:
        # Not by wait_for, which in Python 3.11 loses a cancellation that comes together with the answer.
        async with asyncio.timeout(DEADLINE):
            return await self.reader.readuntil(words)

    async def hear_to_the_end(self) -> bytes:
        """Everything until the gateway ends the connection, in whichever way it does."""
        heard = b""
        with suppress(ConnectionError):
            while piece := await self._piece():
                heard += piece
        return heard

    async def _piece(self) -> bytes:
        async with asyncio.timeout(DEADLINE):
            return await self.reader.read(65_536)

    def reset(self) -> None:
        """Vanish without a word, as a crashed program does."""
        self.writer.transport.abort()


@asynccontextmanager
async def wire(port: int) -> AsyncIterator[Wire]:
    """Connect to a gateway on this machine."""
    plug = socket.socket()
    # With 0 seconds to linger, an abort is a reset and no orderly end.
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    plug.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plug, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=plug)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()
