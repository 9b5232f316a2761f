"""One server of a set-up: a port and a directory of its own, killed, paused and started again at will.

It writes nothing of its data to disk: who is killed comes back empty. Its configuration is written once,
since sentinels change it. Used by the set-ups beside this file; never knows which part it plays in one.
All that is done to it is done on the event loop that started it.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.exceptions import BusyLoadingError, ConnectionError, TimeoutError

from realtime.dev import directory as files
from realtime.dev import process
from realtime.dev.process import ServerProcess
from realtime.dev.valkey import valkey_program

PASSWORD = "of-no-use-to-anybody"
WAIT_SECONDS = 60.0
ANSWER_SECONDS = 30.0  # redis-py gives up after 5, and a test may wait for a replica for longer
THROWN_AWAY = ((signal.SIGKILL, 60.0),)
NO_SETTINGS: Mapping[str, object] = MappingProxyType({})
COMMON = {
    "bind": files.HOST,
    "appendonly": "no",
    "save": "",
    "repl-diskless-sync": "yes",
    "repl-diskless-sync-delay": "0",
    "repl-ping-replica-period": "1",
    "requirepass": PASSWORD,
    "masterauth": PASSWORD,
}


def configuration(settings: Mapping[str, object], *directives: str) -> str:
    """Make a configuration file of settings, and of lines as they are."""
    return "\n".join((*(f'{name} "{value}"' for name, value in settings.items()), *directives, ""))


async def wait_until(condition: Callable[[], Awaitable[object]], outcome: str) -> None:
    """Wait until it holds. Raises `AssertionError`, which says what did not come."""

    async def holds() -> bool:
        return bool(await condition())

    assert await process.until(holds, WAIT_SECONDS), f"{outcome}: not within {WAIT_SECONDS} s"


class RedisServer:
    """A server that may run; `url` carries its password."""

    def __init__(
        self, directory: Path, url: str, *, program: Path | None = None, arguments: Iterable[str] = ()
    ) -> None:
        self._directory = files.create(directory)
        self.part = self._directory / "data"  # where it works; relative paths in its configuration lead here
        files.create_part(self.part)
        self.url = url
        self._program = program or valkey_program()
        self._arguments = tuple(arguments)
        self._process: ServerProcess | None = None
        self._is_paused = False

    def __repr__(self) -> str:
        return f"<RedisServer {self.address}, {self._process!r}{', paused' * self._is_paused}>"

    @property
    def address(self) -> str:
        return urlsplit(self.url).netloc.rpartition("@")[2]

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @property
    def answers(self) -> bool:
        """Whether it runs and is not paused."""
        return self._process is not None and not self._is_paused

    def configure(self, text: str) -> None:
        files.write_private(self.part / "server.conf", text)

    async def start(self) -> None:
        """Start it and wait until it answers. Raises `ServerFailed`."""
        assert self._process is None, f"{self!r} is running"
        command: tuple[str | Path, ...] = (self._program, self.part / "server.conf", *self._arguments)
        log = self._directory / "server.log"
        # SIGKILL ends one that is paused, too.
        self._process = await ServerProcess.start(command, data=self.part, log=log, dies_by=signal.SIGKILL)
        await self._process.wait_ready(self._is_ready)

    async def kill(self) -> None:
        """End it at once, with all that it holds."""
        if self._process is not None:
            await self._process.stop(THROWN_AWAY)
        self._process, self._is_paused = None, False

    def pause(self) -> None:
        """Freeze it: its connections stay open and say nothing."""
        self._send(signal.SIGSTOP)
        self._is_paused = True

    def resume(self) -> None:
        self._send(signal.SIGCONT)
        self._is_paused = False

    def client(self) -> Redis:
        """Make a client that tries nothing twice, for one who closes it."""
        return Redis.from_url(self.url, retry=None, decode_responses=True, socket_timeout=ANSWER_SECONDS)

    async def command(self, *words: object) -> object:
        async with self.client() as client:
            return await client.execute_command(*words)

    async def _is_ready(self) -> bool:
        try:
            return bool(await self.command("PING"))
        except (ConnectionError, TimeoutError, BusyLoadingError):
            return False

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None, f"{self!r} does not run"
        os.kill(self._process.pid, number)


async def start_all(servers: Iterable[RedisServer]) -> None:
    """Start them at once."""
    async with asyncio.TaskGroup() as tasks:
        for server in servers:
            tasks.create_task(server.start(), name=f"start {server.address}")


async def kill_all(servers: Iterable[RedisServer]) -> None:
    """End them at once, those that are paused, too."""
    async with asyncio.TaskGroup() as tasks:
        for server in servers:
            tasks.create_task(server.kill(), name=f"kill {server.address}")


async def start_again(servers: Iterable[RedisServer]) -> None:
    """Let those that do not answer be new and empty."""
    silent = [server for server in servers if not server.answers]
    await kill_all(silent)
    await start_all(silent)
