"""Install or upgrade schema `realtime` in a project's database.

`realtime migrate` and every enable call it. A migration is one transaction under a lock, and safe to repeat;
at the current version it needs no install rights and changes nothing. An older program uses a newer schema as
long as the schema's `oldest` version allows, and never changes it. No migration touches a table of the user.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import asyncpg

from realtime.causes.sentence import why
from realtime.errors import ClientError, Code, StatementFailed, Unavailable
from realtime.logs.setup import get_logger
from realtime.postgres.connector import connector_for
from realtime.postgres.pool import Database
from realtime.postgres.session import Row, Session, fetch_one
from realtime.resources import packaged_text
from realtime.settings.config import Project

log = get_logger(__name__)

SCHEMA_VERSION = 7
OLDEST_VERSION = 2  # a program that knows only an older schema must not use ours
LOCK = "lock"
SCRIPTS = (
    *("guard", "owner", "schema", "capture_parts", "capture", "triggers", "rights", "version"),
    "outbox_key",
)

LOCK_WAIT = "1s"  # for the migration's lock and for every lock of its statements
TRIES = 10


@dataclass(frozen=True, slots=True)
class Installation:
    """What a migration installs, and how long it waits for another one."""

    version: int = SCHEMA_VERSION
    scripts: tuple[str, ...] = SCRIPTS
    lock_wait: str = LOCK_WAIT
    pause_seconds: float = 0.2  # between two tries


OURS = Installation()

# Another process migrates this database, or another database of the same cluster, which shares the role.
_CROSSED = (
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.UniqueViolationError,
    asyncpg.DuplicateObjectError,
    asyncpg.InternalServerError,  # "tuple concurrently updated"
)


class TooNew(ClientError):
    """Schema realtime has a version that this program must not use; clients get `unavailable`."""

    def __init__(self, installed: int, oldest: int) -> None:
        super().__init__(
            Code.UNAVAILABLE,
            f"schema realtime has version {installed}, which needs a program that knows version {oldest}"
            f" or a newer one; this program knows {SCHEMA_VERSION}",
        )
        self.installed = installed
        self.oldest = oldest


async def migrate_project(project: Project) -> None:
    """Install or upgrade the schema of a project, for `realtime migrate`; raises only RealtimeError."""
    database = Database(project)
    try:
        async with database.connection() as connection:
            await migrate(connection)
    except StatementFailed as error:
        reason = why(error, connector_for(project.database_url).server_name)
        raise Unavailable("the schema cannot be installed", reason) from error
    finally:
        await database.close()


async def migrate(connection: Session, wanted: Installation = OURS) -> None:
    """Install or upgrade the schema; ClientError `forbidden` names the right that the role lacks.

    Does not change a newer schema, and raises TooNew if this program may not use that schema.
    """
    for _ in range(TRIES):
        try:
            return await _migrate_once(connection, wanted)
        except _CROSSED as error:
            crossed = error
        except asyncpg.ReadOnlySQLTransactionError as error:
            raise Unavailable("the project's database is read-only now") from error
        except (asyncpg.InsufficientPrivilegeError, asyncpg.RaiseError) as error:
            raise _forbidden(f"schema realtime cannot be installed: {error}") from error
        await asyncio.sleep(wanted.pause_seconds)
    raise Unavailable(
        f"schema realtime cannot be installed now: {crossed}{await _by(connection)}"
    ) from crossed


def migration_sql(role: str) -> str:
    """Return a psql script with which an administrator installs the schema for this role."""
    literal = "'" + role.replace("'", "''") + "'"
    head = (
        "begin;",
        "set local standard_conforming_strings = on;",
        f"set local lock_timeout = '{LOCK_WAIT}';",
        "set local search_path = pg_catalog, pg_temp;",
        f"set local realtime.service_role = {literal};",
        f"set local realtime.schema_version = '{SCHEMA_VERSION}';",
        f"set local realtime.oldest_version = '{OLDEST_VERSION}';",
    )
    return "\n\n".join(["\n".join(head), *map(_script, (LOCK, *SCRIPTS)), "commit;\n"])


async def _by(connection: Session) -> str:
    """Name the sessions that may block the migration: any session can hold a lock on a table of ours."""
    found = await connection.fetch(_script("holders"))
    return f"; locks are held by {', '.join(row['session'] for row in found)}" if found else ""


async def is_installed(connection: Session) -> bool:
    """Whether the schema is installed, in any version."""
    return bool((await _state(connection))["installed"])


async def check_usable(connection: Session) -> int | None:
    """Return the version of the schema, or None if the schema is not installed.

    Raises ClientError `forbidden` if the role may not use it, and TooNew if this program may not.
    """
    state = await _state(connection)
    if not state["installed"]:
        return None
    if not state["usable"]:
        raise _forbidden(f"role {state['role']} lacks rights in schema realtime")
    return await check_version(connection)


async def check_version(connection: Session) -> int | None:
    """Return the version of an installed schema, None while a dump is being restored; raises TooNew."""
    # By to_jsonb, since schemas before version 3 have no column `oldest`.
    row = await fetch_one(
        connection,
        "select max(version) as version, max((to_jsonb(v) ->> 'oldest')::integer) as oldest"
        " from realtime.version as v",
    )
    if row["oldest"] is not None and row["oldest"] > SCHEMA_VERSION:
        raise TooNew(row["version"], row["oldest"])
    version: int | None = row["version"]
    return version


async def check_could_use(connection: Session) -> None:
    """Raise ClientError if a notifier could not use the schema, or could not upgrade it first."""
    version = await check_usable(connection)
    if version is not None and version < SCHEMA_VERSION:
        await _check_may_install(connection)
    state = await _state(connection)
    if not state["may_silence"]:
        raise _forbidden(f"role {state['role']} lacks UPDATE on sequence realtime.silent_until")


async def _migrate_once(connection: Session, wanted: Installation) -> None:
    if await _is_current(connection, wanted.version):
        return
    async with connection.transaction():
        await connection.execute(
            "select set_config('lock_timeout', $1, true), set_config('search_path', $2, true),"
            " set_config('realtime.service_role', current_user, true),"
            " set_config('realtime.schema_version', $3, true),"
            " set_config('realtime.oldest_version', $4, true)",
            wanted.lock_wait,
            "pg_catalog, pg_temp",
            str(wanted.version),
            str(OLDEST_VERSION),
        )
        await _check_may_install(connection)
        await connection.execute(_script(LOCK))
        if await _is_current(connection, wanted.version):
            return
        for name in wanted.scripts:
            await connection.execute(_script(name))
    log.info("schema_migrated", version=wanted.version)


async def _is_current(connection: Session, version: int) -> bool:
    """Compare versions; a newer schema that we may use is current, since it keeps the older functions."""
    return (await check_usable(connection) or 0) >= version


async def _check_may_install(connection: Session) -> None:
    state = await _state(connection)
    if state["missing"]:
        raise _forbidden(f"role {state['role']} lacks {' and '.join(state['missing'])}")


async def _state(connection: Session) -> Row:
    return await fetch_one(connection, _script("state"))


def _forbidden(reason: str) -> ClientError:
    return ClientError(
        Code.FORBIDDEN, f"{reason}; an administrator may run what `realtime migrate --print-sql` prints"
    )


def _script(name: str) -> str:
    return packaged_text(__package__, f"sql/{name}.sql")
