"""A connection of redis-py without a server: its transport notes what is sent; a test says what comes."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

from redis.asyncio.connection import Connection


class Stream(asyncio.Protocol):
    """What redis-py reads through, and waits for when it closes a connection."""

    has_ended = False

    def connection_lost(self, error: Exception | None) -> None:
        self.has_ended = True


class Transport:
    """Notes commands; loses the connection in the loop's next turn, as real ones do."""

    def __init__(self) -> None:
        self.protocol: asyncio.BaseProtocol = Stream()
        self.sent: list[bytes] = []
        self.is_reset = False  # uvloop raises for what is written
        self._is_closing = False

    def write(self, data: bytes) -> None:
        if self.is_reset:
            raise RuntimeError("the handler is closed")
        self.sent.append(data)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def is_closing(self) -> bool:
        return self._is_closing

    def abort(self, error: Exception | None = None) -> None:
        if not self._is_closing:
            self._is_closing = True
            asyncio.get_running_loop().call_soon(lambda: self.protocol.connection_lost(error))

    def receive(self, data: bytes) -> None:
        cast(asyncio.Protocol, self.protocol).data_received(data)


class FakeConnection:
    """What the protocol of commands uses of a connection of redis-py."""

    def __init__(self) -> None:
        self.transport = Transport()
        self._writer = SimpleNamespace(transport=self.transport)
        self._parser = Connection()._parser
        self.is_marked = False  # for reconnecting, since its server was demoted
        self.stream = cast(Stream, self.transport.protocol)

    def should_reconnect(self) -> bool:
        return self.is_marked

    async def disconnect(self, nowait: bool) -> None:
        assert nowait, "a server that hangs must not hold up who closes"
        self.transport.abort()
