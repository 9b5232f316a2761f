"""What everybody writes first: one coroutine that awaits each subscriber's `send_str` in turn.

    python -m bench.baselines.naive PORT REDIS_URL CHANNEL

The measure that the gateway's fan-out is compared with; does nothing else that a gateway does.
"""

from __future__ import annotations

import sys

import uvloop
from redis.asyncio import Redis

from bench.baselines.serving import messages, serve_subscribers


async def main(port: int, redis_url: str, channel: str) -> None:
    async with Redis.from_url(redis_url) as client, client.pubsub() as pubsub:
        await pubsub.ssubscribe(channel)
        sockets = await serve_subscribers(port)
        async for text in messages(pubsub):
            for socket in list(sockets):
                await socket.send_str(text)


uvloop.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
