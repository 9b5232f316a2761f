"""The least that a fan-out can cost on this event loop: a frame built once, and `transport.write` in a loop.

    python -m bench.baselines.bare PORT REDIS_URL CHANNEL

The measure that the gateway's fan-out comes close to; a client that does not read would fill its memory.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import sys
from typing import cast

import uvloop
from redis.asyncio import Redis

from bench.baselines.serving import messages
from gateway.wire.frames import text_frame

WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


class Client(asyncio.Protocol):
    """Answers the upgrade, and the first frame with a confirmation, whatever it says."""

    def __init__(self, subscribed: list[asyncio.Transport]) -> None:
        self._subscribed = subscribed
        self._transport: asyncio.Transport | None = None
        self._is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if self._is_open:
            self._transport.write(text_frame(b'{"type":"subscribed"}'))
            self._subscribed.append(self._transport)
            return
        found = re.search(rb"Sec-WebSocket-Key: (\S+)", data)
        assert found is not None, "the whole head comes at once from the benchmark's clients"
        accept = base64.b64encode(hashlib.sha1(found[1] + WEBSOCKET_GUID).digest())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self._is_open = True


async def main(port: int, redis_url: str, channel: str) -> None:
    subscribed: list[asyncio.Transport] = []
    async with Redis.from_url(redis_url) as client, client.pubsub() as pubsub:
        await pubsub.ssubscribe(channel)
        await asyncio.get_running_loop().create_server(lambda: Client(subscribed), "127.0.0.1", port)
        async for text in messages(pubsub):
            frame = text_frame(text.encode())
            for transport in subscribed:
                transport.write(frame)


uvloop.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
