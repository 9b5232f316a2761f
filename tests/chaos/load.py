"""The load of the chaos suite: writers; clients that subscribe, publish and are present; and the final check.

It draws from the seed for each part, works on the stage and reports to the referee. Call `settle` while
`running` is open. The code that restores the database reports the begin and the end of the restore here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Protocol

import asyncpg

from tests.chaos.client import Doors, Habits, Part, Visitor
from tests.chaos.hearing import Hearing, Talk
from tests.chaos.ledger import TABLES, Ledger
from tests.chaos.mirror import Mirror, Replica, Tally
from tests.chaos.presence import Person
from tests.chaos.referee import Referee
from tests.chaos.roster import Roster
from tests.chaos.subscriber import Subscriber
from tests.chaos.talk import Talker
from tests.chaos.verdict import Verdict
from tests.chaos.world import World
from tests.chaos.writers import Writer

PACE = 80.0  # transactions a second, of all writers together
ROOMS = ("room:chaos", "chat:chaos")
LISTENERS, TALKERS, WATCHERS, PEOPLE = 3, 3, 2, 5
SITTER = Habits(stay=(600.0, 3600.0))  # a client that reconnects only when it must
VISITOR = Habits()
STRANGER = Habits(stay=(0.5, 4.0), away=(0.5, 6.0), rude=0.9)

# The channels of the subscribers, in turn; a table may have more than one spelling.
CHANNELS = (
    ("table:chaos_a", "table:chaos_b", "table:chaos_c"),
    ("table:chaos_a",),
    ("table:chaos_b", "table:chaos_c:INSERT"),
    ("table:public.chaos_c", "table:chaos_a:DELETE"),
)


class Theatre(Doors, Protocol):
    """What the load needs of the stage."""

    @property
    def database_url(self) -> str: ...

    async def enable(self, table: str) -> None: ...


class Load:
    """All writers and clients of the service."""

    def __init__(
        self,
        stage: Theatre,
        referee: Referee,
        seed: int,
        subscribers: int = 8,
        writers: int = 4,
        pace: float = PACE,
    ) -> None:
        self._stage = stage
        self._referee = referee
        self._seed = seed
        self._world = World()
        self._ledger = Ledger(lambda: stage.database_url, self._world)
        self._talks = [Talk(room) for room in ROOMS]
        self._visitors: list[Visitor] = []
        self._writers = [self._writer(f"writer {i}", pace / writers) for i in range(writers)]
        self._tables = [self._subscriber(f"subscriber {i}", _replicas, i) for i in range(subscribers)]
        self._listeners = [self._subscriber(f"listener {i}", self._hearings, i) for i in range(LISTENERS)]
        self._watchers = [self._subscriber(f"watcher {i}", _rosters, i) for i in range(WATCHERS)]
        self._talkers = [self._talker(i) for i in range(TALKERS)]
        self._people = [self._person(i) for i in range(PEOPLE)]
        self._writing: list[asyncio.Task[None]] = []

    def __repr__(self) -> str:
        return f"<Load of seed {self._seed}: {len(self._writers)} writers, {len(self._visitors)} clients>"

    def _writer(self, name: str, pace: float) -> Writer:
        dice = Random(f"{self._seed} {name}")
        return Writer(name, lambda: self._stage.database_url, self._world, self._referee, dice, pace)

    def _subscriber(
        self, name: str, standings: Callable[[str, int, Referee], list[Any]], number: int
    ) -> Subscriber:
        standing = standings(name, number, self._referee)
        part = Subscriber(name, standing, self._ledger, self._world, self._referee)
        self._visit(part, SITTER if number == 0 else VISITOR)
        return part

    def _hearings(self, name: str, number: int, referee: Referee) -> list[Hearing]:
        return [Hearing(name, talk, referee) for talk in self._talks]

    def _talker(self, number: int) -> Talker:
        name = f"talker {number}"
        talk = self._talks[number % len(self._talks)]
        part = Talker(name, talk, self._world, Random(f"{self._seed} words of {name}"))
        self._visit(part, VISITOR)
        return part

    def _person(self, number: int) -> Person:
        name = f"person {number}"
        channel = (ROOMS[0], None)[number % 2]
        part = Person(name, channel, self._world, Random(f"{self._seed} words of {name}"))
        self._visit(part, SITTER if number == 0 else STRANGER)
        return part

    def _visit(self, part: Part, habits: Habits) -> None:
        dice = Random(f"{self._seed} {part.name}")
        self._visitors.append(Visitor(self._stage, self._world, self._referee, part, dice, habits))

    async def prepare(self) -> None:
        """Create the tables and enable realtime on them."""
        connection = await asyncpg.connect(self._stage.database_url)
        try:
            await connection.execute(Path(__file__).with_name("schema.sql").read_text())
        finally:
            await connection.close()
        for table in TABLES:
            await self._stage.enable(table)

    def disturbed(self) -> None:
        """Note that the database is about to go back in time: no writer and no client may use it."""
        self._world.disturb()

    def restored(self) -> None:
        """Note that the database is whole again: what anybody knew of its state before is void."""
        self._world.restore()

    def divided(self) -> None:
        """Note that two primaries of Redis may answer: a message that is acknowledged now may be lost."""
        for talk in self._talks:
            talk.is_divided = True

    def united(self) -> None:
        for talk in self._talks:
            talk.is_divided = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run all writers and clients while the block runs."""
        async with asyncio.TaskGroup() as tasks:

            def start(what: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
                return tasks.create_task(what, name=name)

            self._writing = [start(writer.run(), writer.name) for writer in self._writers]
            running = [start(visitor.run(), visitor.part.name) for visitor in self._visitors]
            for one in (*self._tables, *self._listeners, *self._watchers):
                running.append(start(one.keep_loaded(), f"loads of {one.name}"))
                running.append(start(one.keep_judging(), f"judgement of {one.name}"))
            try:
                yield
            finally:
                for task in (*running, *self._writing):
                    task.cancel()

    async def settle(self, deadline: float) -> None:
        """Stop the writers, let all clients stay, and wait until all know the truth or the deadline is over.

        Then every subscriber reconnects once more, and must miss nothing.
        """
        self._world.calm.set()
        await asyncio.wait(self._writing)
        for visitor in self._visitors:
            visitor.stay()
        subscribers = (*self._tables, *self._listeners, *self._watchers)
        verdict = Verdict(self._referee, self._ledger, subscribers, self._talkers, self._people)
        await verdict.learn(self._stage.database_url)
        if await verdict.agreed(deadline):
            await verdict.come_back([one for one in self._visitors if one.part in self._tables], deadline)
            await verdict.agreed(deadline)
        verdict.pronounce()


def _replicas(name: str, number: int, referee: Referee) -> list[Replica]:
    return [
        (Mirror if channel.count(":") == 1 else Tally)(name, channel, referee)
        for channel in CHANNELS[number % len(CHANNELS)]
    ]


def _rosters(name: str, number: int, referee: Referee) -> list[Roster]:
    return [Roster(name, channel, referee) for channel in ("presence", f"presence:{ROOMS[0]}")]
