"""The final check: after the last write, does every client know the truth?

It reads the truth from the ledger, waits until all clients agree with it, and reports each client that does
not. Then each subscriber of tables reconnects once more with `since`, and must get nothing new.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import asyncpg

from tests.chaos.client import Visitor
from tests.chaos.hearing import Hearing
from tests.chaos.ledger import FAILURES, TABLES, Ledger
from tests.chaos.mirror import Replica, Truth
from tests.chaos.presence import Person
from tests.chaos.referee import BROKEN, Referee
from tests.chaos.roster import Roster
from tests.chaos.standing import Difference, Standing
from tests.chaos.subscriber import Subscriber
from tests.chaos.talk import Talker
from tests.chaos.writers import DELETE

POLL_SECONDS = 0.2
QUIET_SECONDS = 1.0  # in which all messages that are under way arrive
LAST_WORDS = "insert into {table} (note) values ('the end'), ('the end')"
NEWEST = "select id from {table} order by id desc limit 1"


class Verdict:
    """The truth at the end, and the clients that do not know it."""

    def __init__(
        self,
        referee: Referee,
        ledger: Ledger,
        subscribers: Sequence[Subscriber],
        talkers: Sequence[Talker],
        people: Sequence[Person],
    ) -> None:
        self._referee = referee
        self._ledger = ledger
        self._subscribers = subscribers
        self._talkers = talkers
        self._people = people
        self._truth: dict[str, Truth] = {}  # by table

    def __repr__(self) -> str:
        return f"<Verdict on {len(self._subscribers)} subscribers>"

    async def learn(self, database_url: str) -> None:
        """Write a last row into each table and delete another one; then read the truth."""
        while not self._truth:
            with suppress(*FAILURES):
                connection = await asyncpg.connect(database_url, timeout=5, command_timeout=20)
                try:
                    for table in TABLES:
                        await connection.execute(LAST_WORDS.format(table=table))
                        victim = NEWEST.format(table=table)
                        await connection.execute(DELETE.format(table=table, victims=victim))
                finally:
                    connection.terminate()
                self._truth = {table: await self._ledger.read(table) for table in TABLES}

    async def agreed(self, deadline: float) -> bool:
        """Wait until every client knows the truth; False if the deadline, in seconds, is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                await self._until(lambda: not any(self._differences()))
            return True
        return False

    async def come_back(self, visitors: Sequence[Visitor], deadline: float) -> None:
        """Let the subscribers of tables reconnect: they must resume where they were."""
        guests = [(one, part) for one in visitors if isinstance(part := one.part, Subscriber)]
        lines = {part.name: part.lines for _, part in guests}
        for visitor, _ in guests:
            visitor.return_now()
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                await self._until(lambda: all(_is_back(part, lines) for _, part in guests))
        for _, part in guests:
            if not _is_back(part, lines):
                self._referee.violation(BROKEN, part.name, f"could not come back in {deadline:.0f} s")
            for channel in part.unrecovered:
                self._referee.violation(
                    BROKEN, part.standings[channel].where, "came back and was not recovered"
                )
        await asyncio.sleep(QUIET_SECONDS)

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            await asyncio.sleep(POLL_SECONDS)

    def pronounce(self) -> None:
        """Report everything that is wrong to the referee."""
        for subscriber in self._subscribers:
            subscriber.judge(mercy=False)
        for kind, where, what in self._differences():
            self._referee.violation(kind, where, f"at the end: {what}")

    def _differences(self) -> Iterator[tuple[str, str, str]]:
        """Return kind, place and sentence of each difference."""
        for talker in self._talkers:
            if not talker.has_spoken:
                yield BROKEN, talker.name, "its last word was never acknowledged"
        for person in self._people:
            if not person.is_settled:
                yield BROKEN, person.name, "its presence was never acknowledged"
        for subscriber in self._subscribers:
            if not subscriber.is_joined:
                yield BROKEN, subscriber.name, "is not subscribed"
            for standing in subscriber.standings.values():
                for kind, what in self._of(standing):
                    yield kind, standing.where, what

    def _of(self, standing: Standing) -> list[Difference]:
        match standing:
            case Replica():
                return standing.differences(self._truth[standing.table])
            case Hearing():
                return standing.differences()
            case Roster():
                return standing.differences(self._present(standing.channel))
            case _:
                raise AssertionError(f"{standing!r} is of no known kind")

    def _present(self, channel: str) -> dict[str, Any]:
        """Return who is present under a presence channel: states by connection."""
        _, _, scope = channel.partition(":")
        return dict(
            person.entry for person in self._people if person.entry and (person.channel or "") == scope
        )


def _is_back(part: Subscriber, lines: dict[str, int]) -> bool:
    return part.lines > lines[part.name] and part.is_joined
