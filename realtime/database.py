"""A project's database as the catalogue reaches it: a small pool that opens when it is first used.

Takes the project's settings; whoever borrows a connection gets asyncpg's. What means "cannot be reached
now" leaves as Unavailable, what Postgres says of a statement leaves as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg

from realtime.config import Project
from realtime.errors import Unavailable

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
    """The pool of one project."""

    def __init__(self, project: Project) -> None:
        self._opened = False
        # Behind a transaction pooler the next statement may meet another session.
        pooled = project.listen_url is not None
        self._pool: Any = asyncpg.create_pool(
            project.database_url,
            min_size=0,
            max_size=MAX_CONNECTIONS,
            timeout=CONNECT_TIMEOUT_SECONDS,
            command_timeout=COMMAND_TIMEOUT_SECONDS,
            statement_cache_size=0 if pooled else 100,
            server_settings={"application_name": "realtime"} | ({} if pooled else _SESSION),
        )

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """Borrow a connection; raises Unavailable when the database cannot be reached or goes away."""
        try:
            connection = await self._acquire()
            try:
                yield connection
            finally:
                await self._give_back(connection)
        except _NO_TEXT as error:
            raise Unavailable("the project's database has a name that is no UTF-8") from error
        except _LOST as error:
            raise Unavailable("the project's database cannot be reached now") from error

    async def _acquire(self) -> Any:
        try:
            await self._pool
            self._opened = True
            return await self._pool.acquire()
        except ValueError as error:
            raise misread_address(error) from error

    async def _give_back(self, connection: Any) -> None:
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
async def transaction(connection: Any, **options: Any) -> AsyncIterator[None]:
    """A transaction as asyncpg begins it, that ends soon when it is cut off, or a server is silent.

    asyncpg would wait half a minute for the rollback, and raise its failure in place of the cancellation.
    """
    block = connection.transaction(**options)
    await block.start()
    try:
        yield
    except (asyncio.CancelledError, TimeoutError):
        await _roll_back_soon(connection, block)
        raise
    except BaseException:
        await block.rollback()
        raise
    await block.commit()


async def _roll_back_soon(connection: Any, block: Any) -> None:
    """Or end the session."""
    rollback = asyncio.create_task(block.rollback(), name="roll back")
    try:
        await asyncio.wait([rollback], timeout=RELEASE_TIMEOUT_SECONDS)
    finally:
        if not rollback.done() or rollback.cancelled() or rollback.exception() is not None:
            connection.terminate()
            await asyncio.gather(rollback, return_exceptions=True)


def misread_address(error: ValueError) -> Exception:
    """What it means that asyncpg raised this while it connected; what it quotes may be of the password."""
    if isinstance(error, asyncpg.InterfaceError):  # of a wrong option
        return Unavailable(str(error))
    return Unavailable(f"the address of the project's database cannot be understood ({type(error).__name__})")
