"""A WebSocket client by hand, for what no library lets a client do: wrong frames, silence, not reading."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.change_stream import DEADLINE
from tests.gateway_fixture import Gateway, token_for

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def frame(opcode: int, payload: bytes, *, final: bool = True, masked: bool = True) -> bytes:
    """One frame as a client sends it; reserved bits may stand in the opcode."""
    mask_bit, length = 0x80 if masked else 0, len(payload)
    if length < 126:
        head = struct.pack("!BB", opcode | final << 7, mask_bit | length)
    elif length < 65_536:
        head = struct.pack("!BBH", opcode | final << 7, mask_bit | 126, length)
    else:
        head = struct.pack("!BBQ", opcode | final << 7, mask_bit | 127, length)
    if not masked:
        return head + payload
    mask = b"\x01\x02\x03\x04"
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


@dataclass
class RawSocket:
    """An upgraded connection; answers nothing by itself, not even a ping."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def frame(self) -> tuple[int, bytes]:
        """The opcode and the payload of the next frame; servers send them whole and without mask."""
        async with asyncio.timeout(DEADLINE):
            first, length = await self.reader.readexactly(2)
            assert first & 0x80, "a server does not send fragments"
            if length == 126:
                (length,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return first & 0x0F, await self.reader.readexactly(length)

    async def text(self) -> bytes:
        """The payload of the next text frame; a ping may come before it at any time."""
        while (received := await self.frame())[0] == PING:
            pass
        opcode, payload = received
        assert opcode == TEXT, received
        return payload

    async def close_code(self) -> int:
        """The code of the next close frame, whatever comes before it."""
        while True:
            opcode, payload = await self.frame()
            if opcode == CLOSE:
                return int(struct.unpack("!H", payload[:2])[0])


@asynccontextmanager
async def raw_socket(
    gateway: Gateway, token: str | None = None, *, greeted: bool = True, receive_bytes: int | None = None
) -> AsyncIterator[RawSocket]:
    """Upgrade a connection by hand and read its first message; `receive_bytes` bounds the kernel's buffer."""
    plain = socket.socket()
    if receive_bytes is not None:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", gateway.port))
    reader, writer = await asyncio.open_connection(sock=plain, limit=4_096 if receive_bytes else 2**16)
    try:
        writer.write(
            f"GET /projects/demo/realtime/ws?token={token or token_for()} HTTP/1.1\r\nHost: x\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        async with asyncio.timeout(DEADLINE):
            assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        raw = RawSocket(reader, writer)
        if greeted:
            assert b'"connected"' in (await raw.frame())[1]
        yield raw
    finally:
        writer.transport.abort()
