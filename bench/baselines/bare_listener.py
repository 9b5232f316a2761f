"""The bare chain, first half: a session that listens, and publishes in Redis what it is notified of.

    python -m bench.baselines.bare_listener DATABASE_URL LISTEN_TO REDIS_URL CHANNEL

Prints `ready` when it listens.
"""

from __future__ import annotations

import asyncio
import sys

import asyncpg
import uvloop
from redis.asyncio import Redis


async def main(database_url: str, listen_to: str, redis_url: str, channel: str) -> None:
    rows: asyncio.Queue[str] = asyncio.Queue()
    session = await asyncpg.connect(database_url)
    async with Redis.from_url(redis_url) as redis:
        await session.add_listener(listen_to, lambda *notification: rows.put_nowait(notification[-1]))
        print("ready", flush=True)
        while True:
            await redis.publish(channel, await rows.get())


uvloop.run(main(*sys.argv[1:]))
