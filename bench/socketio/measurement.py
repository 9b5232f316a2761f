"""What a delivery costs Socket.IO's server and what it costs a gateway: CPU of the process, taking turns.

One server of each, with its crowd. Socket.IO gets messages by its Redis adapter, a gateway gets them from
Redis as the notifier publishes them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.changes import AT, DATA, Changes, line_of
from bench.cpu import cpu_seconds
from bench.figures import Figure, median
from bench.programs import (
    NO_DATABASE,
    POLL_SECONDS,
    Clients,
    Server,
    allow_files,
    clients_of,
    command,
    gateway,
)
from bench.socketio.install import HERE, install
from realtime.channels import Table
from realtime.dev.directory import free_port
from realtime.dev.valkey import valkey
from realtime.redis.client import connect

TABLE = Table("public", "bench")
# What Socket.IO carries: the same change, as our clients get it.
MESSAGE = {
    "type": "realtime",
    "channel": "table:bench",
    "schema": "public",
    "table": "bench",
    "event": "INSERT",
    "data": json.loads(DATA),
    "old": None,
    "commit_timestamp": AT,
    "id": "0123456789abcdef0123-500",
}
DEADLINE_SECONDS = 60
SECONDS = 2  # of each turn
WARM_RATE = 50
ROOM = "bench"


Send = Callable[[int, int], Awaitable[None]]  # messages a second, and for how many seconds


@dataclass
class Contender:
    """A server and its crowd, and how messages get into Redis for it."""

    server: Server
    clients: Clients
    send: Send
    sent: int = 0

    async def turn(self, rate: int) -> float:
        """Return microseconds of the server's CPU for each delivery."""
        clients, before = self.clients, cpu_seconds(self.server.process)
        had = int(await clients.crowd.tell("bytes"))
        await self.send(rate, SECONDS)
        self.sent += rate * SECONDS
        async with asyncio.timeout(DEADLINE_SECONDS):
            while int(await clients.sample.tell("least")) < self.sent:
                await asyncio.sleep(POLL_SECONDS)
        cpu = cpu_seconds(self.server.process) - before
        came = int(await clients.crowd.tell("bytes")) - had
        if came < rate * SECONDS * len(DATA) * clients.rest:
            raise RuntimeError("some clients of the crowd did not get every message")
        return cpu * 1e6 / (rate * SECONDS * (clients.sampled + clients.rest))


async def measure(subscribers: int, rates: list[int], rounds: int) -> list[Figure]:
    """Print microseconds of CPU a delivery at each rate, and the ratio of the two."""
    if (reason := await asyncio.to_thread(install)) is not None:
        print(f"socketio: not measured: {reason}")
        return []
    if not allow_files(subscribers):
        print(f"socketio: {subscribers:,} clients are more than `ulimit -n` allows")
        return []
    print(f"Socket.IO, {subscribers:,} subscribers, CPU of the server a delivery, {rounds} turns, medians:")
    costs: dict[tuple[str, int], list[float]] = {}
    with TemporaryDirectory(prefix="realtime-bench-") as name:
        async with valkey(Path(name), settings={"appendonly": "no"}) as server, AsyncExitStack() as opened:
            contenders = {
                "ours": await opened.enter_async_context(_ours(server.url, subscribers)),
                "Socket.IO": await opened.enter_async_context(_socketio(server.url, subscribers)),
            }
            for contender in contenders.values():
                await contender.turn(WARM_RATE)
            for rate in rates * rounds:
                for kind, contender in contenders.items():
                    costs.setdefault((kind, rate), []).append(await contender.turn(rate))
    figures = []
    for rate in rates:
        ours, theirs = median(costs["ours", rate]), median(costs["Socket.IO", rate])
        shown = f"ours {ours:6.2f} µs, Socket.IO {theirs:6.2f} µs, {theirs / ours:.1f} times"
        print(f"  {rate:>6,} messages/s: {shown}")
        what = f"{rate:,} messages/s to {subscribers:,} subscribers: CPU a delivery"
        figures.append(Figure(what, ours, "µs", {"Socket.IO": theirs}))
    return figures


@asynccontextmanager
async def _ours(redis_url: str, subscribers: int) -> AsyncIterator[Contender]:
    async with connect(redis_url) as store, gateway(redis_url, NO_DATABASE, "table:bench") as server:
        changes, line = Changes(store, TABLE), line_of(TABLE)

        async def send(rate: int, seconds: int) -> None:
            await changes.publish_at(rate, seconds, lambda: line)

        async with clients_of(server, subscribers) as clients:
            yield Contender(server, clients, send)


@asynccontextmanager
async def _socketio(redis_url: str, subscribers: int) -> AsyncIterator[Contender]:
    port = free_port()
    async with (
        command("node", str(HERE / "server.mjs"), str(port), redis_url, ROOM) as node,
        command("node", str(HERE / "emitter.mjs"), redis_url, ROOM, json.dumps(MESSAGE)) as emitter,
    ):
        await node.answer()
        await emitter.answer()
        path = "/socket.io/?EIO=4&transport=websocket"
        server = Server(port, path, "40", "40{", node.measured)

        async def send(rate: int, seconds: int) -> None:
            await emitter.tell(f"{rate} {seconds}")

        async with clients_of(server, subscribers) as clients:
            yield Contender(server, clients, send)
