"""A TCP port before a server, for the ways in which a network fails.

Bytes come from whoever connects, go to `target` and back. `cut` resets connections; while silent, nothing
passes either way and nobody is told; `delay` makes each piece late. Does not look into what it passes on;
`rewrite` may.
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
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close without a goodbye


class Silence(Enum):
    """What becomes of what is sent while nothing passes."""

    HELD = "held"  # as TCP sends again what was lost: it arrives when the network is back
    SWALLOWED = "swallowed"  # as when a middle box forgets: who sends on such a connection later is reset


def _as_it_is(data: bytes) -> bytes:
    return data


class Link:
    """One port with all connections through it."""

    def __init__(self, name: str, target: int, rewrite: Callable[[bytes], bytes] = _as_it_is) -> None:
        self.name = name
        self.target = target  # the port that new connections are passed on to
        self.port = 0  # where it listens, once it does
        self.connections: set[_Connection] = set()
        self._rewrite = rewrite  # what comes back, piece by piece
        self._delay = 0.0
        self._swallows = False
        self._passes = asyncio.Event()  # not set while everything is held
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
        """What a fault strikes: all of it, as there is but one server behind it."""
        return self

    def cut(self) -> None:
        """Reset every connection, both ways; new ones are served."""
        for connection in self.connections:
            connection.reset()

    def forget(self) -> None:
        """Swallow all that is sent on today's connections, for ever; new ones are served."""
        for connection in self.connections:
            connection.forgotten = True

    def black_hole(self, silence: Silence) -> None:
        """Let nothing pass, and tell nobody; new connections are accepted and hear nothing."""
        self._swallows = silence is Silence.SWALLOWED
        if silence is Silence.HELD:
            self._passes.clear()

    def delay(self, seconds: float) -> None:
        """Hold each piece back for so long, either way."""
        self._delay = seconds

    def heal(self) -> None:
        """Be a good network again; connections that something was swallowed from stay dead."""
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
            pass  # whoever is left gets a reset
        except* asyncio.CancelledError:
            pass  # cut; asyncio's own server would report it as a fault
        finally:
            self.connections.discard(connection)
            connection.close()

    async def _swallow(self, reader: asyncio.StreamReader) -> None:
        """Hear somebody out who connected while everything is swallowed, until the network is back."""
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
            connection.dead = True  # the end was swallowed as well
        else:
            connection.ended = True
            writer.close()


class _Connection:
    """Whoever connected, and the server behind it once that is reached."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.task: asyncio.Task[Any] = task
        self.writers = [writer]
        self.dead = False  # something was swallowed: it cannot go on
        self.forgotten = False  # all is swallowed, whatever becomes of the network
        self.ended = False  # one side said goodbye, and the other was told

    def reset(self) -> None:
        for writer in self.writers:
            _reset(writer)
        self.task.cancel()

    def close(self) -> None:
        """Leave nothing behind: who was not told goodbye gets a reset."""
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
