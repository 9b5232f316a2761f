"""A WebSocket that says everything back, made of the gateway's own parts: settings, door, socket and pump.

For tests of the WebSocket protocol alone: the gateway itself says nothing back, and refuses binary messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import WSMsgType, web

from gateway.websocket.turns import Turns
from gateway.websocket.upgrade import Upgrade, take_over
from gateway.websocket.web_socket import WebSocket
from gateway.wire.frames import pong_frame, text_frame
from gateway.wire.native import NativeCodec
from gateway.wire.queue_writer import QueueWriter
from gateway.wire.send_queue import SendQueue
from realtime.settings.config import Limits

served: set[asyncio.Task[None]] = set()


def binary_frame(payload: bytes) -> bytes:
    return b"\x82" + text_frame(payload)[1:]


async def accept(request: web.Request) -> Upgrade:
    """Answer the upgrade, and serve the client in a task."""
    upgrade = Upgrade()
    await upgrade.prepare(request)
    take_over(request, serve)
    return upgrade


def serve(network: asyncio.Transport, early: bytes) -> WebSocket:
    web_socket = WebSocket(network, early, Limits(), Turns())
    task = asyncio.create_task(echo(web_socket), name="echo")
    served.add(task)
    task.add_done_callback(served.discard)
    return web_socket


async def echo(web_socket: WebSocket) -> None:
    """Take frames as the gateway's `Connection` takes them, and say them back."""
    pump = QueueWriter()
    socket = SendQueue(web_socket.network, "echo", Limits(), pump, NativeCodec())
    web_socket.open(lambda controls, fragments: None)
    while True:
        frame = await web_socket.receive()
        match frame.type:
            case WSMsgType.TEXT:
                socket.send([text_frame(frame.data.encode())])
            case WSMsgType.BINARY:
                socket.send([binary_frame(frame.data)])
            case WSMsgType.PING:
                socket.send([pong_frame(frame.data)])
            case WSMsgType.PONG:
                pass
            case _:
                web_socket.end()
                return


@asynccontextmanager
async def echo_server() -> AsyncIterator[int]:
    """Run it on a free port, which is yielded."""
    app = web.Application()
    app.router.add_get("/", accept)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        for task in list(served):
            task.cancel()
        await runner.cleanup()
