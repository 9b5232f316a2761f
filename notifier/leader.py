"""The leadership of one project: a session advisory lock in its database, and the session that holds it.

The seat says when to try, and when the holder is lost. While another is known to lead, no session is open.
Knows nothing of what a leader does.
"""

from __future__ import annotations

import time
from asyncio import sleep, timeout
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from notifier import metrics
from notifier.database import application_name, connect, query
from notifier.seat import Seat
from realtime import keys
from realtime.logs import get_logger

log = get_logger(__name__)

TRY_SECONDS = 0.25  # between two tries, and two looks at the seat
ANSWER_SECONDS = 10.0  # a try takes a millisecond: a database that is silent for so long is lost
SAME_HOLDER_SECONDS = 5.0  # one that has the lock for less may not have written its lease yet

_TRY, _SILENCE = query("try_to_lead"), query("silence_predecessor")


@asynccontextmanager
async def leading(project: str, url: str, seat: Seat, stand_by: Callable[[], None]) -> AsyncIterator[Any]:
    """Become leader, however long it takes, and yield the session that makes us it; ends it in the end.

    Calls `stand_by` while another leads. Raises what asyncpg and the operating system raise.
    """
    candidate = Candidate(project, url, seat, stand_by)
    connection = await candidate.win()
    try:
        connection.add_termination_listener(seat.resign)
        seat.lead(time.monotonic())
        metrics.elections.labels(project).inc()
        log.info("leader_elected", project=project)
        yield connection
    finally:
        # Closing politely could wait for a host that is gone.
        connection.terminate()
        seat.resign()
        log.info("leader_resigned", project=project)


@dataclass
class Candidate:
    """One that wants to lead."""

    project: str
    url: str
    seat: Seat
    stand_by: Callable[[], None]
    holder: int | None = None  # the backend that has the lock,
    held_since: float = 0.0  # and since when we see it there
    told: bool = False  # that a right is missing

    async def win(self) -> Any:
        """Return a session that has the lock."""
        while True:
            await self._until_called()
            connection = await self._connect()
            try:
                if await self._contend(connection):
                    await self._silence_predecessor(connection)
                    return connection
            except BaseException:
                connection.terminate()
                raise
            connection.terminate()

    async def _until_called(self) -> None:
        """Wait while another is known to lead; find out whether we could."""
        while not self.seat.may_try(time.monotonic()):
            if not self.seat.proven and self.seat.stands_by(time.monotonic()):
                (await self._connect()).terminate()
            if self.seat.proven:
                self.stand_by()
            await sleep(TRY_SECONDS)

    async def _connect(self) -> Any:
        connection = await connect(self.url, self.project)
        self.seat.proven = True
        return connection

    async def _contend(self, connection: Any) -> bool:
        """Try until it is ours, or until another is known to lead."""
        while self.seat.may_try(time.monotonic()):
            row = await connection.fetchrow(_TRY, keys.LEADER_LOCK, timeout=ANSWER_SECONDS)
            if row["got"]:
                return True
            self.stand_by()
            if self._is_lost(row["holder"], row["name"]):
                await self._end(connection, row["holder"])
            await sleep(TRY_SECONDS)
        return False

    def _is_lost(self, holder: int | None, name: str | None) -> bool:
        """Whether who has the lock is a notifier of this project that shows no sign of life."""
        now = time.monotonic()
        if holder != self.holder:
            self.holder, self.held_since = holder, now
        return (
            holder is not None
            and name == application_name(self.project)  # two projects may share a database
            and now - self.held_since >= SAME_HOLDER_SECONDS
            and self.seat.may_end_leader(now)
        )

    async def _end(self, connection: Any, holder: int | None) -> None:
        if await self._may(connection.fetchval("select pg_terminate_backend($1)", holder)):
            metrics.ended_leaders.labels(self.project).inc()
            log.warning("silent_leader_ended", project=self.project, backend_pid=holder)

    async def _silence_predecessor(self, connection: Any) -> None:
        await self._may(connection.fetch(_SILENCE, keys.AWAKE_LOCK))

    async def _may(self, ending: Awaitable[Any]) -> bool:
        """Tell whether we had the right to end a session; what is missing is logged once."""
        try:
            async with timeout(ANSWER_SECONDS):
                await ending
        except asyncpg.InsufficientPrivilegeError as error:
            if not self.told:
                log.warning("silent_leader_not_ended", project=self.project, error=str(error))
            self.told = True
            return False
        return True
