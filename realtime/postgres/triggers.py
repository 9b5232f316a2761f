"""Change the triggers of one table without blocking its writers for longer than LOCK_WAIT.

The catalogue calls it with a function of `sql/triggers.sql`. If a lock takes longer than LOCK_WAIT, the
transaction ends and is retried for LOCK_SECONDS; then it raises Unavailable, and nothing has changed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import asyncpg

from realtime.channels import Table
from realtime.errors import ClientError, Code, Unavailable
from realtime.postgres.pool import transaction
from realtime.postgres.session import Session
from realtime.postgres.statements import LOCK_WAIT
from realtime.resources import packaged_text

LOCK_SECONDS = 3.0
LOCK_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.5)

_BUSY = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)


@dataclass(frozen=True, slots=True)
class Located:
    """A table as it is now in Postgres, and our role, which may or may not own the table."""

    table: Table
    oid: int
    columns: list[str]
    parent: list[str] | None  # schema and name of the partitioned table, for a partition
    foreign_partition: str | None  # the name of a partition that is a foreign table
    owner: str
    role: str


async def switch(
    connection: Session,
    located: Located,
    statement: str,
    *arguments: object,
    lock_seconds: float = LOCK_SECONDS,
) -> None:
    """Run a statement that takes locks; retry it until it gets the locks or `lock_seconds` have passed."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + lock_seconds
    tries = 0
    while True:
        try:
            await _in_transaction(connection, statement, located.oid, *arguments)
            return
        except _BUSY as error:
            pause = LOCK_PAUSES[min(tries, len(LOCK_PAUSES) - 1)]
            if clock() + pause > deadline:
                raise await _locked(connection, located) from error
        except asyncpg.InsufficientPrivilegeError as error:
            raise _not_owner(located, error) from error
        except asyncpg.ReadOnlySQLTransactionError as error:
            raise Unavailable("the project's database is read-only now") from error
        await asyncio.sleep(pause)
        tries += 1


async def _in_transaction(connection: Session, statement: str, *arguments: object) -> object:
    async with transaction(connection):
        await connection.execute(f"set local lock_timeout = '{LOCK_WAIT}'")
        return await connection.fetchval(statement, *arguments)


async def mend(connection: Session, relation: int, root: int | None) -> bool:
    """Repair the triggers of one table from `realtime.astray_v1`; return whether that was possible now."""
    try:
        return bool(await _in_transaction(connection, "select realtime.mend_v1($1, $2)", relation, root))
    except (*_BUSY, asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedTableError):
        return False


def _not_owner(located: Located, error: asyncpg.InsufficientPrivilegeError) -> ClientError:
    return ClientError(
        Code.FORBIDDEN,
        f"role {located.role} may not change the triggers of {located.table}: {error}; "
        f"it must be a member of {located.owner}, which owns the table",
    )


async def _locked(connection: Session, located: Located) -> Unavailable:
    pids = [str(row["pid"]) for row in await connection.fetch(_BLOCKERS, located.oid)]
    by = f" (pid {', '.join(pids)})" if pids else ""
    return Unavailable(f"table {located.table} is locked by another transaction{by}")


_BLOCKERS = packaged_text(__package__, "sql/blockers.sql")
