"""The leadership of one project: the feed's row in its database names the session that leads and reads.

The candidacy says when to try, and when the leader is lost. While another notifier is known to lead, no
session is open. Without the schema there is nothing to lead: the holder of the lease in Redis waits for the
schema. Knows nothing of what a leader does.
"""

from __future__ import annotations

import secrets
import time
from asyncio import sleep
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg

from notifier import metrics
from notifier.errors import NoFeed
from notifier.leadership.candidacy import Candidacy
from notifier.sessions import application_name, connect, query
from realtime import names
from realtime.logs.setup import get_logger
from realtime.postgres.migrations import SCHEMA_VERSION, check_could_use, check_version, migrate
from realtime.postgres.session import OwnSession, Row

log = get_logger(__name__)

TRY_SECONDS = 0.25  # between two tries, and two checks of the candidacy or for the schema
ANSWER_SECONDS = 10.0  # a try takes a millisecond: a database that is silent for so long is lost
LOCK_BITS = 62  # of a random number that nobody guesses, and that fits a bigint

_WHO_LEADS, _LEAD = query("who_leads"), query("lead")


@dataclass(frozen=True)
class Lead:
    """What a leader holds: the session that leads, and the advisory lock that proves it."""

    session: OwnSession
    lock: int


@asynccontextmanager
async def leading(
    project: str,
    url: str,
    candidacy: Candidacy,
    stand_by: Callable[[], None],
    await_schema: Callable[[], None],
) -> AsyncIterator[Lead]:
    """Wait to become leader, however long it takes, and yield the lead; end its session at the end.

    Calls `stand_by` while another leads, and `await_schema` while there is no schema. Raises what both calls
    raise, what asyncpg and the operating system raise, and ClientError if the schema cannot be used.
    """
    candidate = Candidate(project, url, candidacy, stand_by, await_schema)
    try:
        lead = await candidate.win()
    except BaseException:
        candidacy.resign()  # it may have waited for the schema
        raise
    try:
        lead.session.add_termination_listener(candidacy.resign)
        candidacy.lead(time.monotonic())
        metrics.elections.labels(project).inc()
        log.info("leader_elected", project=project)
        yield lead
    finally:
        # A clean close could wait for a host that is gone.
        lead.session.terminate()
        candidacy.resign()
        log.info("leader_resigned", project=project)


@dataclass
class Candidate:
    """A notifier that tries to lead one project."""

    project: str
    url: str
    candidacy: Candidacy
    stand_by: Callable[[], None]
    await_schema: Callable[[], None]
    holder: int | None = field(default=None, init=False)  # the backend that leads; None: nobody
    seen_since: float = field(default=0.0, init=False)  # since when `holder` is seen to lead
    has_warned: bool = field(default=False, init=False)  # that the right to end sessions is missing

    async def win(self) -> Lead:
        """Return a session that leads."""
        while True:
            await self._until_called()
            connection = await self._connect()
            try:
                lock = await _lock_of_its_own(connection)
                if await self._schema_comes(connection) and await self._contend(connection, lock):
                    return Lead(connection, lock)
            except BaseException:
                connection.terminate()
                raise
            connection.terminate()
            self.candidacy.resign()

    async def _until_called(self) -> None:
        """Wait while another notifier is known to lead; check once that this one could lead."""
        while not self.candidacy.may_try(time.monotonic()):
            if not self.candidacy.proven and self.candidacy.stands_by(time.monotonic()):
                (await self._connect()).terminate()
            if self.candidacy.proven:
                self.stand_by()
            await sleep(TRY_SECONDS)

    async def _connect(self) -> OwnSession:
        connection = await connect(self.url, self.project)
        try:
            await check_could_use(connection)
        except BaseException:
            connection.terminate()
            raise
        self.candidacy.proven = True
        return connection

    async def _schema_comes(self, connection: OwnSession) -> bool:
        """Wait for the schema; return False once another notifier is known to wait for it, or to lead."""
        while not await _schema_is_whole(connection):
            self.candidacy.await_schema(time.monotonic())
            self.await_schema()
            if self.candidacy.stands_by(time.monotonic()):
                return False
            await sleep(TRY_SECONDS)
        return True

    async def _contend(self, connection: OwnSession, lock: int) -> bool:
        """Try until this session leads; return False once another notifier is known to lead."""
        while not await self._try(connection, lock):
            self.candidacy.resign()
            self.stand_by()
            await sleep(TRY_SECONDS)
            if not self.candidacy.may_try(time.monotonic()):
                return False
        return True

    async def _try(self, connection: OwnSession, lock: int) -> bool:
        found = await connection.fetch(_WHO_LEADS, names.LEADER_LOCK, timeout=ANSWER_SECONDS)
        if len(found) != 1:
            raise NoFeed(len(found))
        [row] = found
        now = time.monotonic()
        if self.holder != row["pid"] or not self.seen_since:
            self.holder, self.seen_since = row["pid"], now
        self.candidacy.rival = row["pid"]
        if row["pid"] is None:
            return self.candidacy.may_take(now, self.seen_since) and await self._take(connection, row, lock)
        if self._is_lost(row["name"], now):
            await self._end(connection, row["pid"])
        return False

    async def _take(self, connection: OwnSession, row: Row, lock: int) -> bool:
        """Take the lead if nobody did first; keep older notifiers out, unless a stranger has their lock."""
        keeps_out = await connection.fetchval("select pg_try_advisory_lock($1::bigint)", names.LEADER_LOCK)
        expected = row["ctid"], row["former_lock"]
        if await connection.fetchval(_LEAD, *expected, lock, names.LEADER_LOCK, timeout=ANSWER_SECONDS):
            return True
        if keeps_out:
            await connection.execute("select pg_advisory_unlock($1::bigint)", names.LEADER_LOCK)
        return False

    def _is_lost(self, name: str | None, now: float) -> bool:
        """Tell whether the leader is a notifier of this project that has not renewed its lease for long."""
        return (
            name == application_name(self.project)  # two projects may share a database
            and now - self.seen_since >= self.candidacy.timings.same_holder_seconds
            and self.candidacy.may_end_leader(now)
        )

    async def _end(self, connection: OwnSession, holder: int) -> None:
        """End the leader's session; log once if the right to do so is missing."""
        try:
            await connection.fetchval("select pg_terminate_backend($1)", holder, timeout=ANSWER_SECONDS)
        except asyncpg.InsufficientPrivilegeError as error:
            if not self.has_warned:
                log.warning("silent_leader_not_ended", project=self.project, error=str(error))
            self.has_warned = True
        else:
            metrics.ended_leaders.labels(self.project).inc()
            log.warning("silent_leader_ended", project=self.project, backend_pid=holder)


async def _lock_of_its_own(connection: OwnSession) -> int:
    """Take an advisory lock that nobody else has; a pooler that keeps the session releases the lock."""
    while True:
        lock = secrets.randbits(LOCK_BITS)
        if await connection.fetchval("select pg_try_advisory_lock($1::bigint)", lock):
            return lock


async def _schema_is_whole(connection: OwnSession) -> bool:
    """Tell whether the schema is complete, and migrate an older one; its version is installed last."""
    if not await connection.fetchval("select to_regclass('realtime.version') is not null"):
        return False
    version = await check_version(connection)
    if version is not None and version < SCHEMA_VERSION:
        await migrate(connection)
    return version is not None
