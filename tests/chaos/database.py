"""The Postgres of the stage, which is crashed, dumped while writers write, and restored from such a dump.

It always keeps its port, its password and the name of its database. Commits survive a crash of the server;
the machine itself does not crash.
"""

from __future__ import annotations

import asyncio
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import asyncpg

from realtime.dev.postgres import EmbeddedPostgres, Mode, postgres, postgres_program
from tests.acceptance.programs import clean_environment

NAME = "chaos"
SETTINGS = {
    "fsync": "off",  # the machine itself does not crash
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "200",
}
KEPT_DUMPS = 4
TRIES = 5  # of a restore that waits for locks of writers


class Database:
    """One server, and the database in it that all parts of the stage use."""

    def __init__(self, directory: Path, port: int) -> None:
        self._directory = directory
        self.port = port
        self._running = AsyncExitStack()
        self._server: EmbeddedPostgres | None = None
        self._dumps: list[Path] = []  # oldest first
        self._busy = asyncio.Lock()  # held during a dump and during everything that would break a dump
        self.server_url = ""  # of the superuser, in database `postgres`

    @property
    def url(self) -> str:
        """The superuser's URL of the database of the stage."""
        return self.at(self.port)

    def at(self, port: int) -> str:
        """Return the URL of the database through another port."""
        address = urlsplit(self.server_url)
        credentials = address.netloc.rpartition("@")[0]
        return address._replace(netloc=f"{credentials}@127.0.0.1:{port}", path=f"/{NAME}").geturl()

    async def start(self) -> None:
        opening = postgres(self._directory, port=self.port, settings=SETTINGS)
        self._server = await self._running.enter_async_context(opening)
        self.server_url = self._server.url

    async def create(self) -> None:
        await self._administer(f"create database {NAME}")

    async def stop(self) -> None:
        await self._running.aclose()

    async def crash(self) -> None:
        """Stop the server as `pg_ctl stop -m immediate` does, without a checkpoint."""
        assert self._server is not None
        async with self._busy:
            await self._server.stop(Mode.IMMEDIATE)
            await self.stop()

    async def keep_dumping(self, dice: Random) -> None:
        """Take dumps at intervals until cancelled."""
        while True:
            await self.dump()
            await asyncio.sleep(dice.uniform(5, 25))

    async def dump(self) -> None:
        """Take and keep a dump, unless the server is not available."""
        draft = self._directory / "draft.dump"
        async with self._busy:
            status, _ = await self._run("pg_dump", "--format=custom", f"--file={draft}", self.url)
            if status != 0:
                return
            kept = self._directory / f"{asyncio.get_running_loop().time():.3f}.dump"
            draft.rename(kept)
            self._dumps.append(kept)
        while len(self._dumps) > KEPT_DUMPS:
            self._dumps.pop(0).unlink()

    async def restore(self, dice: Random) -> None:
        """Replace the database by another one of the same name, which is restored from an earlier dump.

        The other database is filled before it gets the name, so that no session sees it half filled.
        """
        async with self._busy:
            await self._administer("drop database if exists restored with (force)")
            await self._administer("create database restored")
            target = urlsplit(self.server_url)._replace(path="/restored").geturl()
            status, said = await self._run("pg_restore", f"--dbname={target}", dice.choice(self._dumps))
            assert status == 0, said
            await self._administer(f"drop database {NAME} with (force)")
            await self._administer(f"alter database restored rename to {NAME}")

    async def restore_in_place(self, dice: Random) -> None:
        """Replace the contents of the tables by those of an earlier dump, in one transaction."""
        words = ("pg_restore", "--clean", "--if-exists", "--single-transaction", f"--dbname={self.url}")
        dump, status, said = dice.choice(self._dumps), 1, ""
        async with self._busy:
            for _ in range(TRIES):
                # Writers' locks and ours may wait for each other; then Postgres ends one of us.
                status, said = await self._run(*words, dump)
                if status == 0:
                    return
        raise AssertionError(said)

    async def terminate(self, application: str) -> None:
        """Terminate the backends of a program, by the beginning of the program's name."""
        await self._administer(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            f" where datname = '{NAME}' and application_name like '{application}%'"
        )

    async def _administer(self, statement: str) -> None:
        connection = await asyncpg.connect(self.server_url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def _run(self, name: str, *words: str | Path) -> tuple[int, str]:
        """Run a program of Postgres; return its status and its error output."""
        program = postgres_program(name)
        running = await asyncio.create_subprocess_exec(
            *(program, *words), env=clean_environment(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        _, said = await running.communicate()
        return running.returncode or 0, said.decode(errors="replace")
