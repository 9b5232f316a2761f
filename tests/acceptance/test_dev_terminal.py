"""`realtime dev` on a real terminal: what a person reads there, and what happens when nobody reads."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.acceptance.programs import Program, client_of, command_of, descendants, psql, running
from tests.gateway_fixture import Client
from tests.ports import free_port

pytestmark = pytest.mark.standalone  # `realtime dev` brings its own Valkey, which is one server

WIDTH = 100


class Shown:
    """A `realtime dev` on a terminal that is ready: its addresses, and the lines that came after them."""

    def __init__(self, program: Program) -> None:
        self.program = program
        (ready,) = [line for line in self.plain if line.startswith("ready ")]
        self.url = ready.split()[1]
        self.addresses = {line[2:17].strip(): line[17:] for line in self.plain if re.match("  [a-z]", line)}

    @property
    def plain(self) -> list[str]:
        """The lines without colours."""
        return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in self.program.lines]

    @property
    def news(self) -> list[str]:
        lines = self.plain
        return lines[next(i for i, line in enumerate(lines) if "as they happen" in line) + 1 :]

    async def shows(self, pattern: str) -> None:
        await self.program.does(lambda: any(re.search(pattern, line) for line in self.news))

    async def psql(self, statement: str) -> None:
        await psql(self.addresses["database"], statement)


@asynccontextmanager
async def shown_dev(directory: Path) -> AsyncIterator[Shown]:
    words = ("dev", "--data-dir", "data", "--port", free_port())
    environment = {"TERM": "xterm", "COLUMNS": str(WIDTH)}
    async with running(*words, directory=directory, environment=environment, terminal="all") as program:
        await program.does(lambda: any("as they happen" in line for line in program.lines))
        yield Shown(program)


async def test_a_person_reads_addresses_then_what_happens_and_no_log(spare: Path) -> None:
    async with shown_dev(spare) as dev:
        assert dev.addresses["dashboard"].startswith(f"{dev.url}/dashboard#project=demo&token=eyJ")
        async with client_of(dev.url, dev.addresses["token"]) as client:
            await client.subscribe("table:users")
            await dev.shows(r"^\d\d:\d\d:\d\d \+ alice connected from 127\.0\.0\.1$")
            await dev.psql("insert into users (name) values (E'Ra\\x1b[2Jhul'), (repeat('long ', 100))")
            await dev.shows(r'^\d\d:\d\d:\d\d INSERT users \{"id":\d+,"name":"Ra\\u001b\[2Jhul"')
            await dev.shows(r"INSERT users .*long long.*…$")
        await dev.shows(r"- alice disconnected after \d+\.\d s: 1000")
        assert "\x1b[32m\x1b[1mINSERT" in "".join(dev.program.lines)
        second = ("dev", "--data-dir", "data", "--port", free_port())
        async with running(*second, directory=spare, terminal="all") as refused:
            await refused.ends()
            assert "another realtime dev" in refused.lines[-1]
        gateway = [pid for pid in descendants(dev.program.pid) if "realtime gateway" in command_of(pid)]
        os.kill(gateway[-1], signal.SIGKILL)
        await dev.shows(r"^warning child_restarted: gateway; see data/dev\.log$")
        assert await dev.program.stop(signal.SIGINT) == 0
        assert [line for line in dev.plain if line.startswith("{")] == []
        assert all(len(line) <= WIDTH for line in dev.news)
    log = spare / "data" / "dev.log"
    assert log.stat().st_mode & 0o777 == 0o600
    assert '"event": "child_restarted"' in log.read_text()
    assert "eyJ" not in log.read_text()


async def test_a_flood_is_a_few_lines_and_every_change_is_counted_and_delivered(spare: Path) -> None:
    count = 20_000
    async with shown_dev(spare) as dev, client_of(dev.url, dev.addresses["token"]) as client:
        await client.subscribe("table:orders")
        await dev.psql(f"insert into orders (item) select 'tea' from generate_series(1, {count})")
        await all_of(client, count)

        def counted() -> bool:
            lines = [line for line in dev.news if "INSERT orders" in line]
            more = [int(found[1].replace(",", "")) for line in dev.news if (found := MORE.search(line))]
            return len(lines) + sum(more) == count

        await dev.program.does(counted)
        assert len(dev.news) < 100
        assert await dev.program.stop(signal.SIGINT) == 0


MORE = re.compile(r"… ([\d,]+) more changes")


async def all_of(client: Client, count: int) -> None:
    for _ in range(count):
        assert (await client.hear())["type"] == "realtime"


async def test_a_terminal_that_nobody_reads_stops_neither_the_service_nor_its_end(spare: Path) -> None:
    async with shown_dev(spare) as dev, client_of(dev.url, dev.addresses["token"]) as client:
        await client.subscribe("table:users")
        dev.program.pause_terminal()
        for number in range(20):
            await dev.psql(f"insert into users (name) select {number} from generate_series(1, 50)")
        await all_of(client, 20 * 50)
        assert [line for line in dev.news if "INSERT" in line] == []
        assert await dev.program.stop(signal.SIGINT) == 0
