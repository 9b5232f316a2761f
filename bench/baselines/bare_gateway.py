"""The bare chain, second half: forwards publications of Redis with `send_bytes`, a socket after the other.

    python -m bench.baselines.bare_gateway PORT REDIS_URL CHANNEL

Whoever says anything is subscribed.
"""

from __future__ import annotations

import sys

import uvloop
from redis.asyncio import Redis

from bench.baselines.serving import serve_subscribers


async def main(port: int, redis_url: str, channel: str) -> None:
    async with Redis.from_url(redis_url) as client, client.pubsub() as pubsub:
        await pubsub.subscribe(channel)
        sockets = await serve_subscribers(port)
        async for message in pubsub.listen():
            if message["type"] == "message":
                for socket in list(sockets):
                    await socket.send_bytes(message["data"])


uvloop.run(main(int(sys.argv[1]), *sys.argv[2:]))
