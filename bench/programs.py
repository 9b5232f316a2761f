"""Processes of a measurement: a gateway, and programs of this package that are told a command a line.

Each ends with the block that started it, also where that is interrupted.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psutil

from realtime.auth.tokens import issue
from realtime.dev.directory import free_port

PROJECT = "bench"
JWT_SECRET = "of-no-use-to-anybody-of-no-use-to-anybody"
NO_DATABASE = "postgresql://nobody@127.0.0.1:1/none"  # of a gateway whose enabled tables are not asked for
NO_SETTINGS: Mapping[str, str] = {}
DEADLINE_SECONDS = 120  # for one answer
MOST_ANSWER_BYTES = 2**20
POLL_SECONDS = 0.02
SAMPLE = 10  # subscribers of a crowd that note when changes come
SPARE_FILES = 200  # of a process, beside its clients


@dataclass(frozen=True, slots=True)
class Program:
    """A process that answers each line with one."""

    process: Process

    @property
    def measured(self) -> psutil.Process:
        return psutil.Process(self.process.pid)

    async def answer(self) -> str:
        """Return the next line; raises RuntimeError when the process has ended instead."""
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE_SECONDS):
            line = await self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process of the measurement ended with {await self.process.wait()}")
        return line.decode().strip()

    async def tell(self, command: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n".encode())
        return await self.answer()


@dataclass(frozen=True, slots=True)
class Server:
    """What clients connect to, what each of them says, and the beginning of the answer."""

    port: int
    path: str
    words: str
    answer: str
    process: psutil.Process

    @property
    def arguments(self) -> tuple[str, ...]:
        """For the processes full of clients."""
        return (str(self.port), self.path, self.words, self.answer)


@dataclass(frozen=True, slots=True)
class Clients:
    """Subscribers of one server: a sample that notes what comes, and the rest of the crowd."""

    sample: Program
    sampled: int
    crowd: Program
    rest: int


@asynccontextmanager
async def program(*words: str, settings: Mapping[str, str] = NO_SETTINGS) -> AsyncIterator[Program]:
    """Run `python -m WORDS`, and kill it in the end: a gateway that drains would wait for its clients."""
    async with command(sys.executable, "-m", *words, settings=settings) as running:
        yield running


@asynccontextmanager
async def command(*words: str, settings: Mapping[str, str] = NO_SETTINGS) -> AsyncIterator[Program]:
    process = await asyncio.create_subprocess_exec(
        *words,
        env={**os.environ, **settings},
        stdin=PIPE,
        stdout=PIPE,
        limit=MOST_ANSWER_BYTES,
        start_new_session=True,  # Ctrl-C is for us alone: we end it
    )
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def service(
    *words: str, redis_url: str, database_url: str, settings: Mapping[str, str] = NO_SETTINGS
) -> AsyncIterator[Program]:
    """Run `realtime WORDS` for the one project of the measurements."""
    given = {
        "REALTIME_REDIS_URL": redis_url,
        f"REALTIME_PROJECTS__{PROJECT}__DATABASE_URL": database_url,
        f"REALTIME_PROJECTS__{PROJECT}__JWT_SECRET": JWT_SECRET,
        **settings,
    }
    async with program("realtime", "--log-level", "ERROR", *words, settings=given) as running:
        yield running


@asynccontextmanager
async def gateway(
    redis_url: str,
    database_url: str,
    channel: str,
    since: str | None = None,
    *,
    settings: Mapping[str, str] = NO_SETTINGS,
) -> AsyncIterator[Server]:
    """Run a gateway, for clients that subscribe to a channel, or come back to it with what they saw last."""
    port = free_port()
    message = {"type": "subscribe", "channel": channel, **({"since": since} if since else {})}
    token = issue(JWT_SECRET, PROJECT, "bench", "authenticated", 3600, time.time())
    words = ("gateway", "--host", "127.0.0.1", "--port", str(port))
    given = {"REALTIME_HEARTBEAT_SECONDS": "3600", **settings}  # the clients answer no ping
    async with service(*words, redis_url=redis_url, database_url=database_url, settings=given) as running:
        await wait_for_port(port)
        yield Server(
            port,
            f"/projects/{PROJECT}/realtime/ws?token={token}",
            json.dumps(message),
            '"subscribed"',
            running.measured,
        )


@asynccontextmanager
async def baseline(
    name: str, *arguments: str, words: str = "hello", answer: str = '"subscribed"'
) -> AsyncIterator[Server]:
    """Run a server of `bench.baselines`."""
    port = free_port()
    async with program(f"bench.baselines.{name}", str(port), *arguments) as running:
        await wait_for_port(port)
        yield Server(port, "/ws", words, answer, running.measured)


async def wait_for_port(port: int) -> None:
    """Wait until somebody listens there."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(POLL_SECONDS)
            else:
                writer.close()
                return


@asynccontextmanager
async def clients_of(server: Server, subscribers: int) -> AsyncIterator[Clients]:
    """Let so many subscribers in; each of the sample stands among the others."""
    sampled = min(SAMPLE, subscribers)
    async with (
        program("bench.clients.sample", *server.arguments) as sample,
        program("bench.clients.crowd", *server.arguments) as crowd,
    ):
        left = subscribers - sampled
        for number in range(sampled, 0, -1):
            await sample.tell("open 1")
            await crowd.tell(f"open {left // number}")
            left -= left // number
        yield Clients(sample, sampled, crowd, subscribers - sampled)


def allow_files(clients: int) -> bool:
    """Let this process and those that it starts have files for so many clients; return whether it may."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most == resource.RLIM_INFINITY or clients + SPARE_FILES <= most
