"""What everybody writes first: one coroutine that awaits each subscriber's `send_str` in turn.

    python -m bench.baselines.naive PORT REDIS_URL CHANNEL

The measure that the gateway's fan-out is compared with; does nothing else that a gateway does.
"""

from __future__ import annotations

import sys

import uvloop
from aiohttp import web
from redis.asyncio import Redis

from realtime.publications import read_publication


async def main(port: int, redis_url: str, channel: str) -> None:
    sockets: set[web.WebSocketResponse] = set()

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        async for _ in socket:
            await socket.send_str('{"type":"subscribed"}')
            sockets.add(socket)
        return socket

    app = web.Application()
    app.router.add_get("/ws", serve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    async with Redis.from_url(redis_url) as client, client.pubsub() as pubsub:
        await pubsub.ssubscribe(channel)
        while True:
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=1)
            if message is None:
                continue
            publication = read_publication(message["data"])
            for offset, line in enumerate(publication.lines, publication.first):
                text = '{"type":"realtime","channel":"table:bench",' + line[1:].decode()
                text += f',"id":"{publication.epoch}-{offset}"}}'
                for socket in sockets:
                    await socket.send_str(text)


uvloop.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
