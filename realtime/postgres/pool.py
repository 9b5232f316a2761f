"""A project's database as the catalogue reaches it: a small pool that opens when it is first used.

Takes the project's settings; whoever borrows a connection gets asyncpg's. What means "cannot be reached
now" leaves as Unavailable, with the cause for operators; what else Postgres says leaves as StatementFailed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

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

MAX_CONNECTIONS = 4  # a process and project; what is asked here is asked seldom
CONNECT_TIMEOUT_SECONDS = 3
COMMAND_TIMEOUT_SECONDS = 30
RELEASE_TIMEOUT_SECONDS = 1  # for a statement that was cancelled to end
CLOSE_TIMEOUT_SECONDS = 2

# Whatever the owner of the database sets for all sessions. A pooler would refuse the connection.
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
    asyncpg.InternalClientError,  # what asyncpg says when it is ended while it begins a statement
    asyncpg.PostgresConnectionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.TooManyConnectionsError,
    asyncpg.OperatorInterventionError,
    asyncpg.ObjectNotInPrerequisiteStateError,  # "database is not currently accepting connections"
)

# Of a database whose encoding is not UTF8: a name that no client could be told.
_NO_TEXT = (UnicodeDecodeError, asyncpg.UntranslatableCharacterError, asyncpg.CharacterNotInRepertoireError)


class Database:
    """The pool of one project.

    With a project's id it logs why the database is away; without one, whoever asks tells it.
    """

    def __init__(self, project: Project, logged_as: str | None = None) -> None:
        self._opened = False
        self._door = connector_for(project.database_url)
        self._is_pooled = project.listen_url is not None
        self._logged_as = logged_as
        self._outage = Outage()  # what of it is news
        self._pool: asyncpg.Pool[Row] = asyncpg.create_pool(
            connect=self._connect,
            min_size=0,
            max_size=MAX_CONNECTIONS,
            command_timeout=COMMAND_TIMEOUT_SECONDS,
            # Behind a transaction pooler the next statement may meet another session.
            statement_cache_size=0 if self._is_pooled else 100,
        )

    async def _connect(self, dsn: str | None = None, **options: Any) -> OwnSession:
        settings = {"application_name": "realtime"} | ({} if self._is_pooled else _SESSION)
        return await self._door.open(CONNECT_TIMEOUT_SECONDS, settings, **options)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Session]:
        """Borrow a connection. What asyncpg raises inside leaves as Unavailable or StatementFailed."""
        try:
            connection = await self._acquire()
            try:
                yield connection
            finally:
                await self._give_back(connection)
        except _NO_TEXT as error:
            raise Unavailable("the project's database has a name that is no UTF-8") from error
        except Unavailable as error:
            self._tell(error)
            raise
        except _LOST as error:
            lost = away(why(error, self._door.place))
            self._tell(lost)
            raise lost from error
        except asyncpg.PostgresError as error:
            raise StatementFailed(str(error)) from error

    async def _acquire(self) -> LentSession:
        await self._pool
        self._opened = True
        return await self._pool.acquire()

    def _tell(self, error: Unavailable) -> None:
        """Log the cause once; without a reason it is a table that is locked, and no outage."""
        if self._logged_as is None or not error.reason:
            return
        if self._outage.is_news(error.reason, time.monotonic()):
            log.warning("database_unavailable", project=self._logged_as, error=error.reason)

    async def _give_back(self, connection: LentSession) -> None:
        """Return it to the pool, or end it where it does not come to rest: its server may be out of reach."""
        with suppress(*_LOST):
            await self._pool.release(connection, timeout=RELEASE_TIMEOUT_SECONDS)

    async def close(self, seconds: float = CLOSE_TIMEOUT_SECONDS) -> None:
        """Close the pool after use; what does not end in time, or before a cancellation, is cut off."""
        if self._opened:
            try:
                with suppress(*_LOST):
                    async with asyncio.timeout(seconds):
                        await self._pool.close()
            finally:
                self._pool.terminate()


@asynccontextmanager
async def transaction(connection: Session, **options: Any) -> AsyncIterator[None]:
    """A transaction as asyncpg begins it, that ends soon when it is cut off, or a server is silent.

    asyncpg would wait half a minute for the rollback, and raise its failure in place of the cancellation.
    """
    block = connection.transaction(**options)
    try:
        await block.start()
    except (asyncio.CancelledError, TimeoutError):
        connection.terminate()  # nobody knows whether it has begun
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
    """Or end the session."""
    rollback = asyncio.create_task(block.rollback(), name="roll back")
    try:
        await asyncio.wait([rollback], timeout=RELEASE_TIMEOUT_SECONDS)
    finally:
        if not rollback.done() or rollback.cancelled() or rollback.exception() is not None:
            connection.terminate()
            await asyncio.gather(rollback, return_exceptions=True)
