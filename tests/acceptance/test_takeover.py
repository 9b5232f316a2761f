"""Several notifiers as real processes: one leads each project, another takes over, all share the projects.

Run with `-s` to see how long each takeover took.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.broker import Broker
from realtime.errors import Unavailable
from realtime.redis.client import connect
from realtime.settings.config import Settings
from tests.acceptance.programs import START_SECONDS, Program, running
from tests.gateway_fixture import SECRET, eventually
from tests.notifier_fixture import LISTENING, Witness, enable, session
from tests.servers import fresh_database, throw_away_valkey


@dataclass
class Fleet:
    """Notifiers on one file of settings."""

    directory: Path
    redis_url: str
    databases: dict[str, str]  # project → URL
    programs: AsyncExitStack

    def write(self, name: str, databases: Mapping[str, str]) -> Path:
        lines = [f"redis_url = {json.dumps(self.redis_url)}"]
        for project, url in databases.items():
            lines += [
                f"[projects.{project}]",
                f"database_url = {json.dumps(url)}",
                f'jwt_secret = "{SECRET}"',
            ]
        path = self.directory / f"{name}.toml"
        path.write_text("\n".join(lines) + "\n")
        return path

    async def start(self, databases: Mapping[str, str] | None = None) -> Program:
        """Start a notifier; `databases` are its projects if it does not serve all."""
        path = self.write("some" if databases else "all", databases or self.databases)
        words = ("notifier", "--host", "127.0.0.1", "--config", path)
        return await self.programs.enter_async_context(running(*words, directory=self.directory))


@asynccontextmanager
async def fleet(directory: Path, redis_url: str, databases: dict[str, str]) -> AsyncIterator[Fleet]:
    for url in databases.values():
        await enable(url)
    async with AsyncExitStack() as programs:
        yield Fleet(directory, redis_url, databases, programs)


def states(program: Program) -> dict[str, str]:
    """The state of each project in a notifier, by its log."""
    changes = [record for record in program.log if record["event"] == "feed_state_changed"]
    return {change["project"]: change["state"] for change in changes}


def led(program: Program) -> set[str]:
    return {project for project, state in states(program).items() if state == "live"}


async def share(programs: Sequence[Program], *loads: int) -> None:
    """Wait until these notifiers lead so many projects each, most first, and no project twice."""

    def shared() -> bool:
        led_by = [led(program) for program in programs]
        return sorted(map(len, led_by), reverse=True) == list(loads) and len(set().union(*led_by)) == sum(
            loads
        )

    await eventually(shared, START_SECONDS)


@dataclass
class Stream:
    """One writer that inserts rows 1, 2, 3, … into a project's table, and what history says of them."""

    url: str
    seen: Witness
    written: int = 0
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        async with session(self.url) as writer:
            for row_id in itertools.count(1):
                await writer.execute("insert into orders values ($1, 'note')", row_id)
                self.written = row_id
                if self.stopped.is_set():
                    return
                await asyncio.sleep(0.01)

    async def goes_on(self, rows: int = 20) -> None:
        """Wait until rows that are inserted from here on were published."""
        target = self.written + rows
        await self.seen.sees(target, deadline=START_SECONDS)


@asynccontextmanager
async def streams(fleet: Fleet) -> AsyncIterator[dict[str, Stream]]:
    """Write to each project while the block runs; in the end each change must have arrived once, in order."""
    async with connect(fleet.redis_url) as store:
        broker = Broker(store, Settings())
        streams = {project: Stream(url, Witness(broker, project)) for project, url in fleet.databases.items()}
        async with asyncio.TaskGroup() as tasks:
            for project, stream in streams.items():
                tasks.create_task(stream.run(), name=f"writer of {project}")
            yield streams
            for stream in streams.values():
                stream.stopped.set()
        for stream in streams.values():
            await stream.seen.sees(stream.written, deadline=START_SECONDS)
            assert await stream.seen.ids() == list(range(1, stream.written + 1))


async def pids(url: str) -> set[int]:
    async with session(url) as connection:
        return {row["pid"] for row in await connection.fetch(LISTENING)}


async def pids_of_one(url: str) -> set[int]:
    """Wait until one notifier alone has its two sessions; another's may take a moment to end."""
    async with asyncio.timeout(START_SECONDS):
        while len(found := await pids(url)) != 2:
            pass
    return found


@asynccontextmanager
async def leader_and_standby(fleet: Fleet) -> AsyncIterator[tuple[Program, Program, Stream]]:
    """One notifier that leads project demo, another that does not, and a writer."""
    async with streams(fleet) as writers:
        leader = await fleet.start()
        await leader.tells("feed_state_changed", state="live")
        standby = await fleet.start()
        await standby.tells("feed_state_changed", state="standby")
        await writers["demo"].goes_on()
        yield leader, standby, writers["demo"]


class Watch:
    """Tells on the terminal how long something took."""

    def __init__(self, pytestconfig: pytest.Config) -> None:
        self._show: Any = pytestconfig.get_terminal_writer()
        self._started = time.monotonic()

    def show(self, what: str) -> None:
        self._show.line(f"\n{what}: {time.monotonic() - self._started:.1f} s")


async def test_while_one_leads_the_standby_holds_no_session(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    async with (
        fleet(tmp_path, redis_url, {"demo": database_url}) as notifiers,
        leader_and_standby(notifiers) as (leader, standby, writer),
    ):
        before = await pids_of_one(database_url)
        await writer.goes_on(200)
        assert await pids(database_url) == before
        assert led(leader) == {"demo"}
        assert led(standby) == set()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_when_the_leader_ends_the_standby_leads_and_every_change_arrives_once(
    tmp_path: Path, database_url: str, redis_url: str, how: signal.Signals, pytestconfig: pytest.Config
) -> None:
    """The stream of changes asserts in the end that each arrived once, in order."""
    async with (
        fleet(tmp_path, redis_url, {"demo": database_url}) as notifiers,
        leader_and_standby(notifiers) as (leader, standby, writer),
    ):
        watch = Watch(pytestconfig)
        leader.send(how)
        await standby.tells("feed_state_changed", state="live")
        watch.show(f"takeover after {how.name}")
        await leader.ends()
        await writer.goes_on()


async def test_a_frozen_leader_is_replaced_and_stands_by_when_it_thaws(
    tmp_path: Path, database_url: str, redis_url: str, pytestconfig: pytest.Config
) -> None:
    async with (
        fleet(tmp_path, redis_url, {"demo": database_url}) as notifiers,
        leader_and_standby(notifiers) as (leader, standby, writer),
    ):
        watch = Watch(pytestconfig)
        leader.send(signal.SIGSTOP)
        try:
            await standby.tells("feed_state_changed", state="live")
            watch.show("takeover after SIGSTOP")
            await standby.tells("silent_leader_ended", project="demo")
            await writer.goes_on()
            its_own = await pids(database_url)
        finally:
            leader.send(signal.SIGCONT)
        await leader.tells("feed_state_changed", state="standby")
        await writer.goes_on(100)
        assert led(leader) == set()
        assert led(standby) == {"demo"}
        # Of the frozen one's sessions the bell's was left: it listened, and held nothing.
        await pids_of_one(database_url)
        assert len(its_own) in (2, 3)


@pytest.mark.standalone
async def test_while_redis_is_away_the_leader_stays_and_nobody_is_ended(
    tmp_path: Path, database_url: str
) -> None:
    keep = {"appendonly": "yes", "appendfsync": "always"}
    async with AsyncExitStack() as second:
        async with throw_away_valkey(tmp_path / "redis", keep) as redis:
            notifiers = await second.enter_async_context(fleet(tmp_path, redis.url, {"demo": database_url}))
            leader, standby, writer = await second.enter_async_context(leader_and_standby(notifiers))
            before = await pids_of_one(database_url)
        await leader.tells("feed_state_changed", state="Redis is away")

        async def tries() -> bool:
            """Nobody knows whether the leader lives: the standby asks the lock."""
            return len(await pids(database_url)) == 3

        await eventually(tries, START_SECONDS)
        assert before <= await pids(database_url)
        async with throw_away_valkey(tmp_path / "redis", keep, port=redis.port):
            with suppress(Unavailable):  # by the connection of before
                await writer.seen.offset()
            await writer.goes_on()

            async def stands_by() -> bool:
                return await pids(database_url) == before

            await eventually(stands_by, START_SECONDS)
            assert led(leader) == {"demo"}
            assert led(standby) == set()
            await second.aclose()


@pytest.fixture
async def four(postgres_url: str) -> AsyncIterator[dict[str, str]]:
    """Four projects, each with a database of its own."""
    async with AsyncExitStack() as stack:
        yield {
            f"p{number}": await stack.enter_async_context(fresh_database(postgres_url)) for number in range(4)
        }


async def test_projects_spread_evenly_whoever_comes_and_goes(
    tmp_path: Path, redis_url: str, four: dict[str, str], pytestconfig: pytest.Config
) -> None:
    async with fleet(tmp_path, redis_url, four) as notifiers, streams(notifiers) as writers:
        first = await notifiers.start()
        await share([first], 4)
        watch = Watch(pytestconfig)
        second = await notifiers.start()
        await share([first, second], 2, 2)
        watch.show("spread over two")
        watch = Watch(pytestconfig)
        third = await notifiers.start()
        await share([first, second, third], 2, 1, 1)
        watch.show("spread over three")
        watch = Watch(pytestconfig)
        second.send(signal.SIGKILL)
        await share([first, third], 2, 2)
        watch.show("spread after a kill")
        for writer in writers.values():
            await writer.goes_on()
        assert "warning" not in [record["level"] for record in first.log + third.log]


async def test_a_project_is_not_handed_to_one_that_cannot_reach_its_database(
    tmp_path: Path, redis_url: str, four: dict[str, str]
) -> None:
    """If it counted as able, two of four would be for it, so that one at least of these three would."""
    out_of_reach = dict.fromkeys(("p0", "p1", "p2"), "postgresql://nobody@127.0.0.1:1/nothing")
    async with fleet(tmp_path, redis_url, four) as notifiers, streams(notifiers) as writers:
        first = await notifiers.start()
        await share([first], 4)
        second = await notifiers.start({**four, **out_of_reach})
        await share([first, second], 3, 1)
        for writer in writers.values():
            await writer.goes_on(300)
        assert led(first) == out_of_reach.keys()
        assert [record["event"] for record in first.log].count("leader_handed_over") == 1
