"""The Valkey of the stage: a primary and its replica, with a link between them so that the replica can lag.

Both keep their ports and the common password; which of them is the primary changes. Nothing is written to
disk: a killed server starts empty.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis

from realtime.dev import directory as files
from realtime.dev.valkey import EmbeddedValkey, valkey
from tests.chaos.bundle import Way
from tests.chaos.link import Link, Silence
from tests.gateway_fixture import eventually

PASSWORD = "of-no-use-to-anybody-of-no-use-to-anybody"
SETTINGS = {
    "appendonly": "no",
    "repl-diskless-sync": "yes",
    "repl-diskless-sync-delay": "0",
    "repl-ping-replica-period": "1",
}
SYNC_SECONDS = 30.0  # in which a replica must have copied its primary


class Server:
    """One Valkey, which starts empty each time."""

    def __init__(self, directory: Path, port: int) -> None:
        self._directory = directory
        self.port = port
        self._running = AsyncExitStack()
        self._server: EmbeddedValkey | None = None

    async def start(self) -> None:
        opening = valkey(self._directory, port=self.port, settings=SETTINGS)
        self._server = await self._running.enter_async_context(opening)

    async def kill(self) -> None:
        self.send(signal.SIGKILL)
        await self.stop()

    async def stop(self) -> None:
        await self._running.aclose()

    def send(self, number: signal.Signals) -> None:
        assert self._server is not None
        os.kill(self._server.pid, number)

    async def command(self, *words: object) -> None:
        assert self._server is not None
        async with Redis.from_url(self._server.url) as client:
            await client.execute_command(*words)

    async def is_in_sync(self) -> bool:
        """Tell whether it is a replica that has all data that its primary had when it connected."""
        assert self._server is not None
        async with Redis.from_url(self._server.url) as client:
            return str((await client.info("replication")).get("master_link_status")) == "up"


class RedisPair:
    """Primary and replica, and the links of the processes that use the primary."""

    def __init__(self, directory: Path, ports: tuple[int, int]) -> None:
        for name in ("first", "second"):
            part = files.create(directory / name) / "valkey"
            files.create_part(part)
            files.write_private(part / "password", PASSWORD)
        self._clients: list[Link] = []
        self.primary, self.replica = (
            Server(directory / name, port) for name, port in zip(("first", "second"), ports, strict=True)
        )
        self.replication = Link("replica-redis", self.primary.port)
        self.before_division: Callable[[], None] = lambda: None  # two servers are about to answer as primary
        self.after_division: Callable[[], None] = lambda: None

    def way(self, name: str) -> Link:
        """Create the link of one process to the primary."""
        self._clients.append(Link(name, self.primary.port))
        return self._clients[-1]

    def url(self, way: Way) -> str:
        """Return the URL through this link."""
        assert isinstance(way, Link)
        return f"redis://:{PASSWORD}@127.0.0.1:{way.port}/0"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self.replication.listening():
            try:
                await self.primary.start()
                await self._start_replica()
                yield
            finally:
                await self.replica.stop()
                await self.primary.stop()

    async def _start_replica(self) -> None:
        await self.replica.start()
        await self.replica.command("CONFIG", "SET", "masterauth", PASSWORD)
        await self.replica.command("REPLICAOF", "127.0.0.1", self.replication.port)

    async def has_replica(self) -> None:
        """Wait until the replica could be promoted."""
        await eventually(self.replica.is_in_sync, SYNC_SECONDS)

    async def freeze(self, seconds: float) -> None:
        """Stop the primary for this time, in whatever it does."""
        self.primary.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.primary.send(signal.SIGCONT)

    async def promote_lagging(self, lag_seconds: float) -> None:
        """Kill the primary after its replica has lagged for this time, and promote the replica."""
        await self.has_replica()
        self.replication.black_hole(Silence.HELD)
        await asyncio.sleep(lag_seconds)
        await self.primary.kill()
        await self._promote()
        await self._start_replica()

    async def promote_beside(self, lag_seconds: float) -> None:
        """Promote a lagging replica while the old primary keeps its connections; then demote the old one.

        Messages that are published on the old primary meanwhile are lost, and its subscribers get no sign of
        that.
        """
        await self.has_replica()
        self.replication.black_hole(Silence.HELD)
        await asyncio.sleep(lag_seconds)
        demoted = self.primary
        self.before_division()
        await self._promote()
        await asyncio.sleep(lag_seconds)
        await demoted.command("CONFIG", "SET", "masterauth", PASSWORD)
        await demoted.command("REPLICAOF", "127.0.0.1", self.replication.port)
        self.after_division()

    async def _promote(self) -> None:
        await self.replica.command("REPLICAOF", "NO", "ONE")
        self.primary, self.replica = self.replica, self.primary
        for link in (*self._clients, self.replication):
            link.target = self.primary.port
        self.replication.cut()
        self.replication.heal()
