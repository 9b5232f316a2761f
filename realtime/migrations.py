"""Installing schema `realtime` in a project's database, and bringing it up to date.

Called by `realtime migrate` and before every enable. One transaction, under one lock, as often as one
likes; where the version is right it needs no right and changes nothing. Never touches a table of the user.
"""

from __future__ import annotations

import asyncio
from importlib.resources import files
from typing import Any

import asyncpg

from realtime.errors import ClientError, Code, Unavailable
from realtime.keys import MIGRATE_LOCK

SCHEMA_VERSION = 2
SCRIPTS = ("owner", "schema", "capture", "triggers", "rights", "version")

LOCK_WAIT = "1s"  # for the lock of the migration and for every lock of its statements
TRIES = 10
PAUSE_SECONDS = 0.2

# Another process migrates this database, or another database of the cluster, which shares the role.
_CROSSED = (
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.UniqueViolationError,
    asyncpg.DuplicateObjectError,
    asyncpg.InternalServerError,  # "tuple concurrently updated"
)


async def migrate(connection: Any) -> None:
    """Install or upgrade the schema; ClientError `forbidden` names the right that the role lacks."""
    for _ in range(TRIES):
        try:
            return await _migrate_once(connection)
        except _CROSSED as error:
            crossed = error
        except asyncpg.ReadOnlySQLTransactionError as error:
            raise Unavailable("the project's database is read-only now") from error
        except (asyncpg.InsufficientPrivilegeError, asyncpg.RaiseError) as error:
            raise _forbidden(f"schema realtime cannot be installed: {error}") from error
        await asyncio.sleep(PAUSE_SECONDS)
    raise Unavailable(f"schema realtime cannot be installed now: {crossed}") from crossed


def migration_sql(role: str) -> str:
    """Return a script for psql by which an administrator installs the schema for this role's use."""
    literal = "'" + role.replace("'", "''") + "'"
    head = (
        "begin;",
        "set local standard_conforming_strings = on;",
        f"set local lock_timeout = '{LOCK_WAIT}';",
        "set local search_path = pg_catalog, pg_temp;",
        f"set local realtime.service_role = {literal};",
        f"set local realtime.schema_version = '{SCHEMA_VERSION}';",
        f"select pg_advisory_xact_lock({MIGRATE_LOCK});",
    )
    return "\n\n".join(["\n".join(head), *(_script(name) for name in SCRIPTS), "commit;\n"])


async def is_installed(connection: Any) -> bool:
    """Tell whether the schema is there, of whatever version."""
    return bool((await _state(connection))["installed"])


async def check_rights(connection: Any) -> None:
    """Raise ClientError `forbidden` if the schema is there and the role may not use it."""
    state = await _state(connection)
    if state["installed"] and not state["usable"]:
        raise _forbidden(f"role {state['role']} lacks rights in schema realtime")


async def _migrate_once(connection: Any) -> None:
    if await _is_current(connection):
        return
    async with connection.transaction():
        await connection.execute(
            "select set_config('lock_timeout', $1, true), set_config('search_path', $2, true),"
            " set_config('realtime.service_role', current_user, true),"
            " set_config('realtime.schema_version', $3, true)",
            LOCK_WAIT,
            "pg_catalog, pg_temp",
            str(SCHEMA_VERSION),
        )
        await connection.execute("select pg_advisory_xact_lock($1)", MIGRATE_LOCK)
        if await _is_current(connection):
            return
        await _check_may_install(connection)
        for name in SCRIPTS:
            await connection.execute(_script(name))


async def _is_current(connection: Any) -> bool:
    """Compare versions; newer is current too, since an old function survives a new schema."""
    await check_rights(connection)
    if not await is_installed(connection):
        return False
    return bool(await connection.fetchval("select max(version) >= $1 from realtime.version", SCHEMA_VERSION))


async def _check_may_install(connection: Any) -> None:
    state = await _state(connection)
    if state["missing"]:
        raise _forbidden(f"role {state['role']} lacks {' and '.join(state['missing'])}")


async def _state(connection: Any) -> Any:
    return await connection.fetchrow(_script("state"))


def _forbidden(reason: str) -> ClientError:
    return ClientError(
        Code.FORBIDDEN, f"{reason}; an administrator may run what `realtime migrate --print-sql` prints"
    )


def _script(name: str) -> str:
    return (files("realtime") / "sql" / f"{name}.sql").read_text()
