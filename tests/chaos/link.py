"""A TCP proxy before a server, which simulates the failures of a network.

It passes bytes between its clients and `target`. `cut` resets connections; while the link is silent, it
passes no bytes and gives no sign of that to either side; `delay` delays each piece. The link does not
interpret the bytes; `rewrite` may.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum
from random import Random
from typing import Any

HOST = "127.0.0.1"
CHUNK = 65_536
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


class Silence(Enum):
    """What happens to bytes that are sent while the link is silent."""

    HELD = "held"  # like TCP retransmission: bytes arrive when the network is back
    SWALLOWED = (
        "swallowed"  # like a middlebox that forgets its connections: a side that sends later gets a reset
    )


def _as_it_is(data: bytes) -> bytes:
    return data


class Link:
    """One port, and all connections through it."""

    def __init__(self, name: str, target: int, rewrite: Callable[[bytes], bytes] = _as_it_is) -> None:
        self.name = name
        self.target = target  # the port that new connections are passed on to
        self.port = 0  # the port on which it listens
        self.connections: set[_Connection] = set()
        self._rewrite = rewrite  # changes each piece of the server's answers
        self._delay = 0.0
        self._swallows = False
        self._passes = asyncio.Event()  # not set while pieces are held back
        self._passes.set()

    def __repr__(self) -> str:
        return f"<Link {self.name}: {self.port} to {self.target}, {len(self.connections)} connections>"

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            self.cut()
            await asyncio.gather(*(one.task for one in self.connections), return_exceptions=True)

    def part(self, dice: Random) -> Link:
        """Return what a fault strikes: the whole link, since there is one server behind it."""
        return self

    def cut(self) -> None:
        """Reset all connections in both directions; new connections are accepted."""
        for connection in self.connections:
            connection.reset()

    def forget(self) -> None:
        """Swallow all that is sent on today's connections, for ever; new ones are served."""
        for connection in self.connections:
            connection.forgotten = True

    def black_hole(self, silence: Silence) -> None:
        """Pass no bytes and give no sign of that; new connections are accepted and receive nothing."""
        self._swallows = silence is Silence.SWALLOWED
        if silence is Silence.HELD:
            self._passes.clear()

    def delay(self, seconds: float) -> None:
        """Delay each piece by this time in both directions."""
        self._delay = seconds

    def heal(self) -> None:
        """Behave as a good network again; connections that lost bytes stay dead."""
        self._delay, self._swallows = 0.0, False
        self._passes.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(writer)
        self.connections.add(connection)
        try:
            if self._swallows:
                await self._swallow(reader)
                return
            await self._passes.wait()
            server_reader, server_writer = await asyncio.open_connection(HOST, self.target)
            connection.writers.append(server_writer)
            async with asyncio.TaskGroup() as ways:
                there = self._pass_on(connection, reader, server_writer, _as_it_is)
                back = self._pass_on(connection, server_reader, writer, self._rewrite)
                ways.create_task(there, name=f"{self.name} there")
                ways.create_task(back, name=f"{self.name} back")
        except* OSError:
            pass  # each remaining connection gets a reset
        except* asyncio.CancelledError:
            pass  # cut; asyncio's own server would report it as a fault
        finally:
            self.connections.discard(connection)
            connection.close()

    async def _swallow(self, reader: asyncio.StreamReader) -> None:
        """Read from a client that connected while bytes are dropped, until the network works again."""
        while await reader.read(CHUNK):
            if not self._swallows:
                raise ConnectionResetError

    async def _pass_on(
        self,
        connection: _Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        rewrite: Callable[[bytes], bytes],
    ) -> None:
        while data := await reader.read(CHUNK):
            if self._delay:
                await asyncio.sleep(self._delay)
            await self._passes.wait()
            if self._swallows or connection.forgotten:
                connection.dead = True
            elif connection.dead:
                raise ConnectionResetError
            else:
                writer.write(rewrite(data))
                await writer.drain()
        await self._passes.wait()
        if self._swallows or connection.dead or connection.forgotten:
            connection.dead = True  # the close was dropped as well
        else:
            connection.ended = True
            writer.close()


class _Connection:
    """A connection of a client, and the connection to the server, once the server has accepted it."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.task: asyncio.Task[Any] = task
        self.writers = [writer]
        self.dead = False  # bytes were dropped: the connection cannot continue
        self.forgotten = False  # all is dropped, whatever becomes of the network
        self.ended = False  # one side closed, and the close was passed on

    def reset(self) -> None:
        for writer in self.writers:
            _reset(writer)
        self.task.cancel()

    def close(self) -> None:
        """Close both connections; a side that has not received a close gets a reset."""
        for writer in self.writers:
            if self.ended:
                writer.close()
            else:
                _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if not writer.transport.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
