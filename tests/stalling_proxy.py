"""A proxy before Redis that can hold back what subscriptions bring, as a slow network would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

CHUNK = 65_536


class StallingProxy:
    """Passes everything on; while `open` is not set, nothing that a pub/sub connection brings."""

    def __init__(self, redis_url: str) -> None:
        self._target = urlsplit(redis_url)
        self._tasks: set[asyncio.Task[None]] = set()
        self.open = asyncio.Event()
        self.open.set()
        self.url = ""  # where it listens, once it does

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        subscribed = asyncio.Event()
        for way in (
            self._pass_on(reader, server_writer, None, subscribed),
            self._pass_on(server_reader, writer, subscribed, None),
        ):
            task = asyncio.create_task(way)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        held_if: asyncio.Event | None,
        subscribes: asyncio.Event | None,
    ) -> None:
        try:
            while data := await reader.read(CHUNK):
                if subscribes is not None and b"SUBSCRIBE" in data:
                    subscribes.set()
                if held_if is not None and held_if.is_set():
                    await self.open.wait()
                writer.write(data)
        except ConnectionError:
            pass  # as good as an end
        finally:
            writer.close()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


@asynccontextmanager
async def stalling_proxy(redis_url: str) -> AsyncIterator[StallingProxy]:
    proxy = StallingProxy(redis_url)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    address = urlsplit(redis_url)
    credentials = address.netloc.rpartition("@")[0]
    proxy.url = address._replace(netloc=f"{credentials}@127.0.0.1:{port}").geturl()
    try:
        yield proxy
    finally:
        server.close()
        await proxy.stop()
        await server.wait_closed()
