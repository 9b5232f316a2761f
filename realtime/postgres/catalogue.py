"""The tables of a project: list them, list the enabled tables, enable and disable a table.

The gateway's REST handlers and the notifier call it. `pg_trigger` is the only source of truth about enabled
tables, so this module caches nothing; `triggers` takes the locks.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import asyncpg

from realtime.channels import Event, Table, is_nameable
from realtime.clean_text import is_storable
from realtime.errors import ClientError, Code, Unavailable
from realtime.postgres.migrations import SCHEMA_VERSION, check_usable, is_installed, migrate
from realtime.postgres.pool import transaction
from realtime.postgres.session import Row, Session
from realtime.postgres.statements import INSTALLS, NOTHING, disable_sql, enable_sql
from realtime.postgres.triggers import LOCK_SECONDS, Located, mend, switch
from realtime.resources import packaged_text

LOOK_LOCK_WAIT = "1s"  # for a partition, which its owner may lock for any time
UNGUARDED_NAMED = 100


class Sessions(Protocol):
    """Lends asyncpg connections."""

    def connection(self) -> AbstractAsyncContextManager[Session]: ...


@dataclass(frozen=True, slots=True)
class EnabledTable:
    """A table whose changes are captured; `columns` None means all columns."""

    table: Table
    events: tuple[Event, ...]
    columns: tuple[str, ...] | None
    max_change_bytes: int


@dataclass(frozen=True, slots=True)
class Column:
    """A column, and its type as Postgres spells it."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class TableInfo:
    """A table that the project may use; `enabled` is None for a table that is not enabled."""

    table: Table
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    enabled: EnabledTable | None


class Catalogue:
    """Access to the tables of one project."""

    def __init__(self, database: Sessions, lock_seconds: float = LOCK_SECONDS) -> None:
        self._database = database
        self._lock_seconds = lock_seconds  # for which a change of triggers is tried

    async def resolve(self, table_name: str, schema: str | None = None) -> Table:
        """Return the table that a request means (section 5 of the protocol); ClientError `not_found`."""
        asked = Table(schema or "public", table_name)
        if not is_storable(asked.schema + asked.name):
            raise _not_found(asked)
        async with self._database.connection() as connection:
            row = await _row_of(connection, "resolve", table_name, schema)
        if row is None:
            raise _not_found(asked)
        return Table(row["schema_name"], row["table_name"])

    async def tables(self) -> list[TableInfo]:
        """List every ordinary or partitioned table on which the role has any right."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_query("tables"))
            enabled = {one.table: one for one in await _enabled(connection)}
        return [_table_info(row, enabled) for row in rows]

    async def enabled(self) -> list[EnabledTable]:
        """List the enabled tables; the list is empty if the schema is not installed."""
        async with self._database.connection() as connection:
            return await _enabled(connection)

    async def enable(
        self, table: Table, events: Sequence[Event], columns: Sequence[str] | None, max_change_bytes: int
    ) -> EnabledTable:
        """Capture these events of a table from now on; this replaces what was captured before.

        The first call in a database installs the schema. ClientError: `not_found`, `invalid_request` (a
        partition, an unknown column), `forbidden` (not the owner); Unavailable while the table is locked.
        """
        wanted = _wanted(table, events, columns, max_change_bytes)
        async with self._database.connection() as connection:
            located = await _locate(connection, table)
            _check(wanted, located)
            await migrate(connection)
            await switch(
                connection,
                located,
                "select realtime.enable_v1($1::oid::regclass, $2, $3, $4)",
                [event.value for event in wanted.events],
                None if wanted.columns is None else list(wanted.columns),
                max_change_bytes,
                lock_seconds=self._lock_seconds,
            )
        return wanted

    async def enable_text(
        self, table: Table, events: Sequence[Event], columns: Sequence[str] | None, max_change_bytes: int
    ) -> str:
        """Return the SQL that `enable` would run, and change nothing; ClientError as for `enable`."""
        wanted = _wanted(table, events, columns, max_change_bytes)
        async with self._database.connection() as connection:
            _check(wanted, await _locate(connection, table))
            version = await check_usable(connection)
        text = enable_sql(table, wanted.events, wanted.columns, max_change_bytes)
        return text if (version or 0) >= SCHEMA_VERSION else INSTALLS + text

    async def disable_text(self, table: Table) -> str:
        """Return the SQL that `disable` would run, and change nothing; ClientError as for `disable`."""
        async with self._database.connection() as connection:
            await _locate(connection, table)
            is_there = await is_installed(connection)
            if is_there:
                await check_usable(connection)
        return disable_sql(table) if is_there else NOTHING

    async def disable(self, table: Table) -> None:
        """Stop the capture of a table's changes; ClientError as for `enable`."""
        async with self._database.connection() as connection:
            located = await _locate(connection, table)
            if await is_installed(connection):
                await check_usable(connection)
                await switch(
                    connection,
                    located,
                    "select realtime.disable_v1($1::oid::regclass)",
                    lock_seconds=self._lock_seconds,
                )

    async def mend_partitions(self) -> int:
        """Add triggers to new partitions of enabled tables, remove those of detached ones; return how many.

        Also updates the triggers of tables that got columns of special types. Skips tables that are locked,
        or that belong to another role.
        """
        async with self._database.connection() as connection:
            return sum(
                [await mend(connection, row["relation"], row["root"]) for row in await _astray(connection)]
            )

    async def unguarded_partitions(self) -> int:
        """Count the partitions of enabled tables whose direct changes are not captured, or wrongly."""
        async with self._database.connection() as connection:
            return sum(row["root"] is not None for row in await _astray(connection))

    async def unguarded_names(self) -> list[str]:
        """Name the partitions that `unguarded_partitions` counts; the first UNGUARDED_NAMED of them."""
        async with self._database.connection() as connection:
            oids = [row["relation"] for row in await _astray(connection) if row["root"] is not None]
            if not oids:
                return []
            rows = await connection.fetch(_query("relation_names"), sorted(oids)[:UNGUARDED_NAMED])
            return sorted(str(Table(row["schema_name"], row["table_name"])) for row in rows)


async def _enabled(connection: Session) -> list[EnabledTable]:
    if not await is_installed(connection):
        return []
    await check_usable(connection)
    return [_enabled_table(row) for row in await connection.fetch(_query("enabled"))]


async def _locate(connection: Session, table: Table) -> Located:
    if not is_storable(table.schema + table.name):
        raise _not_found(table)
    row = await _row_of(connection, "locate", table.schema, table.name)
    if row is None:
        raise _not_found(table)
    return Located(table, **row)


async def _row_of(connection: Session, query: str, *names: str | None) -> Row | None:
    """Look up a table by name; return None for a name that the database's encoding cannot represent."""
    try:
        return await connection.fetchrow(_query(query), *names)
    except asyncpg.UntranslatableCharacterError:
        return None


def _wanted(
    table: Table, events: Sequence[Event], columns: Sequence[str] | None, max_change_bytes: int
) -> EnabledTable:
    return EnabledTable(
        table,
        tuple(event for event in Event if event in events),
        None if columns is None else tuple(dict.fromkeys(columns)),
        max_change_bytes,
    )


def _check(wanted: EnabledTable, located: Located) -> None:
    if not is_nameable(wanted.table):
        reason = "can be named by no channel: only printable characters, 255 bytes in all"
        raise _invalid("table_name", f"{str(wanted.table)!a} {reason}")
    if located.parent:
        raise _invalid("table_name", f"{wanted.table} is a partition; enable {Table(*located.parent)}")
    if located.foreign_partition:
        raise _invalid(
            "table_name", f"{wanted.table} has a foreign table as partition: {located.foreign_partition}"
        )
    if not wanted.events:
        raise _invalid("events", "name at least one of INSERT, UPDATE, DELETE")
    if wanted.columns is not None:
        unknown = [column for column in wanted.columns if column not in located.columns]
        if unknown:
            raise _invalid("columns", f"{wanted.table} has no column {unknown[0]!r}")
        if not wanted.columns:
            raise _invalid("columns", "name at least one, or leave it out for all of them")


async def _astray(connection: Session) -> list[Row]:
    if not await is_installed(connection):
        return []
    await check_usable(connection)
    try:
        async with transaction(connection):
            await connection.execute(f"set local lock_timeout = '{LOOK_LOCK_WAIT}'")
            return list(await connection.fetch("select relation, root from realtime.astray_v1()"))
    except asyncpg.LockNotAvailableError as error:
        raise Unavailable("a partition of an enabled table is locked by another transaction") from error


def _table_info(row: Row, enabled: dict[Table, EnabledTable]) -> TableInfo:
    table = Table(row["schema_name"], row["table_name"])
    columns = tuple(Column(name, type_name) for name, type_name in row["columns"])
    return TableInfo(table, columns, tuple(row["primary_key"]), enabled.get(table))


def _enabled_table(row: Row) -> EnabledTable:
    return EnabledTable(
        Table(row["schema_name"], row["table_name"]),
        tuple(event for event in Event if event in row["events"]),
        None if row["columns"] is None else tuple(row["columns"]),
        row["max_change_bytes"],
    )


def _not_found(table: Table) -> ClientError:
    return ClientError(Code.NOT_FOUND, f"there is no table {table}")


def _invalid(field: str, reason: str) -> ClientError:
    return ClientError(Code.INVALID_REQUEST, f"{field}: {reason}")


def _query(name: str) -> str:
    return packaged_text(__package__, f"sql/{name}.sql")
