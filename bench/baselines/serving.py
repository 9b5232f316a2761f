"""What several baselines do alike: let clients in by aiohttp, and turn what Redis publishes into messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web
from redis.asyncio.client import PubSub

from realtime.publications import read_publication


async def serve(port: int, talk: Callable[[web.WebSocketResponse], Awaitable[None]]) -> None:
    """Listen on the port; `talk` has each WebSocket as long as it is open."""

    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        await talk(socket)
        return socket

    app = web.Application()
    app.router.add_get("/ws", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()


async def serve_subscribers(port: int) -> set[web.WebSocketResponse]:
    """Listen on the port; return the open sockets that have said anything, as they come and go."""
    sockets: set[web.WebSocketResponse] = set()

    async def talk(socket: web.WebSocketResponse) -> None:
        async for _ in socket:
            await socket.send_str('{"type":"subscribed"}')
            sockets.add(socket)
        sockets.discard(socket)

    await serve(port, talk)
    return sockets


async def messages(pubsub: PubSub) -> AsyncIterator[str]:
    """Yield the changes that a notifier publishes, one by one, as messages for clients."""
    while True:
        message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=1)
        if message is None:
            continue
        publication = read_publication(message["data"])
        for offset, line in enumerate(publication.lines, publication.first):
            text = '{"type":"realtime","channel":"table:bench",' + line[1:].decode()
            yield text + f',"id":"{publication.epoch}-{offset}"}}'
