"""A project's database: a small connection pool that opens at its first use.

It takes the project's settings and lends asyncpg connections. An outage is raised as Unavailable, with the
cause for operators; any other error of Postgres is raised as StatementFailed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal

import asyncpg
from asyncpg.transaction import Transaction

from realtime.causes.sentence import why
from realtime.errors import StatementFailed, Unavailable
from realtime.logs.setup import get_logger
from realtime.postgres.connector import away, connector_for
from realtime.postgres.session import LentSession, OwnSession, Row, Session
from realtime.settings.config import Project
from realtime.waiting.outage import Outage

log = get_logger(__name__)

MAX_CONNECTIONS = 4  # per process and project; the pool serves rare requests
CONNECT_TIMEOUT_SECONDS = 3
COMMAND_TIMEOUT_SECONDS = 30
RELEASE_TIMEOUT_SECONDS = 1  # for the end of a cancelled statement
CLOSE_TIMEOUT_SECONDS = 2

# Override defaults that the owner of the database sets for all sessions. A pooler would refuse these.
_SESSION = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
}

_LOST = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # asyncpg raises it if the connection ends while a statement starts
    asyncpg.PostgresConnectionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.TooManyConnectionsError,
    asyncpg.OperatorInterventionError,
    asyncpg.ObjectNotInPrerequisiteStateError,  # "database is not currently accepting connections"
)

# In a database whose encoding is not UTF8: a name that cannot be sent to a client.
_NO_TEXT = (UnicodeDecodeError, asyncpg.UntranslatableCharacterError, asyncpg.CharacterNotInRepertoireError)


class Database:
    """The pool of one project.

    With a project's id it logs why the database is unavailable; without an id the caller reports the cause.
    """

    def __init__(self, project: Project, logged_as: str | None = None) -> None:
        self._opened = False
        self._door = connector_for(project.database_url)
        self._is_pooled = project.listen_url is not None
        self._logged_as = logged_as
        self._outage = Outage()  # decides which causes are logged
        self._pool: asyncpg.Pool[Row] = asyncpg.create_pool(
            connect=self._connect,
            min_size=0,
            max_size=MAX_CONNECTIONS,
            command_timeout=COMMAND_TIMEOUT_SECONDS,
            # Behind a transaction pooler the next statement may run in another session.
            statement_cache_size=0 if self._is_pooled else 100,
        )

    async def _connect(self, dsn: str | None = None, **options: Any) -> OwnSession:
        settings = {"application_name": "realtime"} | ({} if self._is_pooled else _SESSION)
        return await self._door.open(CONNECT_TIMEOUT_SECONDS, settings, **options)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Session]:
        """Borrow a connection. asyncpg's errors inside the block become Unavailable or StatementFailed."""
        try:
            connection = await self._acquire()
            try:
                yield connection
            finally:
                await self._give_back(connection)
        except _NO_TEXT as error:
            raise Unavailable("the project's database has a name that is no UTF-8") from error
        except Unavailable as error:
            self._log_outage(error)
            raise
        except _LOST as error:
            lost = away(why(error, self._door.server_name))
            self._log_outage(lost)
            raise lost from error
        except asyncpg.PostgresError as error:
            raise StatementFailed(str(error)) from error

    async def _acquire(self) -> LentSession:
        await self._pool
        self._opened = True
        return await self._pool.acquire()

    def _log_outage(self, error: Unavailable) -> None:
        """Log a cause once. An Unavailable without a reason, such as a locked table, is not an outage."""
        if error.reason:
            self._warn(error.reason)

    def report_refusal(self, error: StatementFailed) -> None:
        """Log once why Postgres refused a statement, for a caller that goes on without the answer."""
        self._warn(why(error, self._door.server_name))

    def _warn(self, reason: str) -> None:
        if self._logged_as is not None and self._outage.is_news(reason, time.monotonic()):
            log.warning("database_unavailable", project=self._logged_as, error=reason)

    async def _give_back(self, connection: LentSession) -> None:
        """Return a connection to the pool; the pool ends it if its reset takes too long, as in an outage."""
        with suppress(*_LOST):
            await self._pool.release(connection, timeout=RELEASE_TIMEOUT_SECONDS)

    async def close(self, seconds: float = CLOSE_TIMEOUT_SECONDS) -> None:
        """Close the pool; connections that do not end in time, or before a cancellation, are terminated."""
        if self._opened:
            try:
                with suppress(*_LOST):
                    async with asyncio.timeout(seconds):
                        await self._pool.close()
            finally:
                self._pool.terminate()


@asynccontextmanager
async def transaction(
    connection: Session, isolation: Literal["repeatable_read"] | None = None, *, readonly: bool = False
) -> AsyncIterator[None]:
    """Run asyncpg's transaction, but end it soon after a cancellation or a timeout.

    asyncpg would wait 30 seconds for the rollback, and raise its failure instead of the cancellation.
    """
    block = connection.transaction(isolation=isolation, readonly=readonly)
    try:
        await block.start()
    except (asyncio.CancelledError, TimeoutError):
        connection.terminate()  # the transaction may have begun, or not
        raise
    try:
        yield
    except (asyncio.CancelledError, TimeoutError):
        await _roll_back_soon(connection, block)
        raise
    except BaseException:
        await block.rollback()
        raise
    await block.commit()


async def _roll_back_soon(connection: Session, block: Transaction) -> None:
    """Roll back within RELEASE_TIMEOUT_SECONDS, or terminate the session."""
    rollback = asyncio.create_task(block.rollback(), name="roll back")
    try:
        await asyncio.wait([rollback], timeout=RELEASE_TIMEOUT_SECONDS)
    finally:
        if not rollback.done() or rollback.cancelled() or rollback.exception() is not None:
            connection.terminate()
            await asyncio.gather(rollback, return_exceptions=True)
