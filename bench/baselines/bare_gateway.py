"""The bare chain, second half: forwards publications of Redis with `send_bytes`, a socket after the other.

    python -m bench.baselines.bare_gateway PORT REDIS_URL CHANNEL

Whoever says anything is subscribed.
"""

from __future__ import annotations

import sys

import uvloop
from aiohttp import web
from redis.asyncio import Redis


async def main(port: int, redis_url: str, channel: str) -> None:
    sockets: set[web.WebSocketResponse] = set()

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        async for _ in socket:
            await socket.send_str('{"type":"subscribed"}')
            sockets.add(socket)
        sockets.discard(socket)
        return socket

    app = web.Application()
    app.router.add_get("/ws", serve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    async with Redis.from_url(redis_url) as client, client.pubsub() as pubsub:
        await pubsub.subscribe(channel)
        await web.TCPSite(runner, "127.0.0.1", port).start()
        async for message in pubsub.listen():
            if message["type"] == "message":
                for socket in list(sockets):
                    await socket.send_bytes(message["data"])


uvloop.run(main(int(sys.argv[1]), *sys.argv[2:]))
