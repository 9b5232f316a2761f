"""Servers at which a client fails, each in its way: silent ones, other kinds of server, TLS of every sort.

All listen on 127.0.0.1 while a block runs. What stands in front of a real server speaks TLS as Redis does, or
as Postgres does after its first question, and passes everything on.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

from tests.redis_servers.certificates import Authority

HTTP_ANSWER = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
SSL_REQUEST = struct.pack("!ll", 8, 80_877_103)
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(talk: Talk, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Talk to whoever connects; yields the port. Ends all connections with the block."""
    tasks: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await talk(reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(one, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(65_536):
        pass


async def answer_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(65_536)
    writer.write(HTTP_ANSWER)
    await writer.drain()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)


class Certificates:
    """Files of an authority, below a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._authority = Authority()
        self.ca = self._write("ca.pem", self._authority.certificate)
        self.stranger = self._write("stranger.pem", Authority().certificate)
        self.certificate, self.key = self._pair("server")
        self.client_certificate, self.client_key = self._pair("client")

    def server_context(self, *, expired: bool = False, wants_client: bool = False) -> ssl.SSLContext:
        certificate, key = self.certificate, self.key
        if expired:
            certificate, key = self._pair("expired", valid=timedelta(minutes=-1))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.set_alpn_protocols(["postgresql"])
        if wants_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca)
        return context

    def _pair(self, name: str, **more: timedelta) -> tuple[Path, Path]:
        certificate, key = self._authority.certify(name, **more)
        return self._write(f"{name}.pem", certificate), self._write(f"{name}.key", key)

    def _write(self, name: str, text: str) -> Path:
        path = self._directory / name
        path.write_text(text)
        return path


@asynccontextmanager
async def redis_tls_front(port: int, context: ssl.SSLContext) -> AsyncIterator[int]:
    """TLS from the first byte, in front of the server at a port."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _pass_on(reader, writer, port)

    async with listening(talk, context) as front:
        yield front


@asynccontextmanager
async def postgres_tls_front(
    port: int, context: ssl.SSLContext, *, insists: bool = True
) -> AsyncIterator[int]:
    """TLS after the question for it, in front of the Postgres at a port; may insist on it."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readexactly(8)
        if first == SSL_REQUEST:
            writer.write(b"S")
            await writer.drain()
            await writer.start_tls(context)
            first = b""
        elif insists:
            writer.write(_refusal("28000", "connection is insecure (try using `sslmode=require`)"))
            await writer.drain()
            return
        await _pass_on(reader, writer, port, first)

    async with listening(talk) as front:
        yield front


def _refusal(sqlstate: str, message: str) -> bytes:
    """ErrorResponse of Postgres' protocol."""
    fields = b"".join(
        kind + text.encode() + b"\0" for kind, text in ((b"S", "FATAL"), (b"C", sqlstate), (b"M", message))
    )
    return b"E" + struct.pack("!l", len(fields) + 5) + fields + b"\0"


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, first: bytes = b""
) -> None:
    there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
    there_writer.write(first)

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()

    pumps = [
        asyncio.create_task(pump(reader, there_writer)),
        asyncio.create_task(pump(there_reader, writer)),
    ]
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in pumps:
            one.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        there_writer.close()
