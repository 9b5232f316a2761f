"""What everybody writes first: each client that comes back reads the history itself, and gets entry by entry.

    python -m bench.baselines.bare_recovery PORT REDIS_URL STREAM

A client says the id of the last entry that it has. The measure that a gateway's recovery is compared with.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import uvloop
from aiohttp import web
from redis.asyncio import BlockingConnectionPool, Redis

from bench.baselines.serving import serve

MOST_CONNECTIONS = 50


async def main(port: int, redis_url: str, stream: str) -> None:
    # One that waits for a free connection, where the other kind fails.
    pool = BlockingConnectionPool.from_url(redis_url, max_connections=MOST_CONNECTIONS, timeout=None)
    async with Redis.from_pool(pool) as redis:

        async def talk(socket: web.WebSocketResponse) -> None:
            await socket.send_str('{"type":"connected"}')
            async for message in socket:
                entries: Any = await redis.xrange(stream, f"({message.data}")
                for _, entry in entries:
                    await socket.send_bytes(entry[b"line"])

        await serve(port, talk)
        await asyncio.Event().wait()


uvloop.run(main(int(sys.argv[1]), *sys.argv[2:]))
