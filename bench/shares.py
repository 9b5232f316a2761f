"""What each part of the capture trigger costs: one session inserts a row a transaction, into like tables.

Each table's trigger does a little more than that of the table before. They take turns in short runs, and
nothing waits for the disk: what is left is the processor's time of one writer.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from bench.capture import INSERT
from bench.figures import Figure
from bench.stage import POSTGRES
from bench.tables import GENERATED, create_table
from realtime.channels import Event, Table
from realtime.dev.postgres import postgres
from realtime.postgres.catalogue import Catalogue
from realtime.postgres.pool import Database
from realtime.settings.config import Project

ROWS = 800  # of one run
QUIET = {**POSTGRES, "synchronous_commit": "off", "autovacuum": "off"}
SETTINGS = (
    "set search_path = pg_catalog, pg_temp set timezone = 'UTC' set plan_cache_mode = force_generic_plan"
)
INTO = "insert into {outbox} (schema_name, table_name, event, data, truncated) "
NAMES = "select tg_table_schema, tg_table_name, 'INSERT', "
WRITE = INTO + NAMES + "row_to_json(n.*)::text, false from new_rows n;"
LIMITED = (
    INTO + NAMES + "case when octet_length(data) > 1048576"
    " then realtime.lean_key_v2(data, tg_relid) else data end, octet_length(data) > 1048576"
    " from (select {row} from new_rows n offset 0) as r (data);"
)
JSON = "row_to_json(n.*)::text"
JSONB = (
    "case when pg_column_size(n.*) < 100000 then to_jsonb(n.*)::text"
    " else realtime.lean_careful_v2(row_to_json(n.*), tg_relid) end"
)
SILENT = "to_timestamp(pg_sequence_last_value('realtime.silent_until'::regclass)) > clock_timestamp()"
BELL = f"""
if {SILENT} then
    {{body}}
    if found then return null; end if;
end if;
perform realtime.ring_v2();"""
COLUMNS = BELL.replace(
    SILENT, f"has_column_privilege(tg_relid, tg_argv[3]::smallint, 'SELECT') is null and {SILENT}"
)
LIMITED_JSON, LIMITED_JSONB = LIMITED.replace("{row}", JSON), LIMITED.replace("{row}", JSONB)
ALL = COLUMNS.replace("{body}", LIMITED_JSON)


@dataclass(frozen=True, slots=True)
class Part:
    """A table, and the function of its trigger."""

    label: str
    table: str
    body: str
    settings: str | None = None  # of a function that runs as another role
    is_keyed_by_id: bool = False  # the outbox has a primary key on id as well, as it had before version 7
    rights: str = "(schema_name, table_name, event, data, old, truncated)"


# What a trigger has beyond the one before it.
PARTS = (
    Part("a trigger that does nothing", "nothing", ""),
    Part("the row as JSON into an outbox, found by its transaction", "written", WRITE),
    Part("as another role, with three settings", "definer", WRITE, SETTINGS),
    Part("the limit of a row's size", "limited", LIMITED_JSON, SETTINGS),
    Part("the doorbell", "bell", BELL.replace("{body}", LIMITED_JSON), SETTINGS),
    Part("the look for new columns", "checked", ALL, SETTINGS),
)
# The last of them, changed in one thing.
OTHERS = (
    Part("with a second index, on id", "indexed", ALL, SETTINGS, is_keyed_by_id=True),
    Part(
        "with the text of jsonb, and its limits", "jsonb", COLUMNS.replace("{body}", LIMITED_JSONB), SETTINGS
    ),
    Part("without the settings", "unset", ALL, ""),
    Part("with a right to the whole outbox", "granted", ALL, SETTINGS, rights=""),
)
INSTALLED = (
    ("capture_insert_v3, of a table that needs no care", "capture_insert_v3"),
    ("capture_insert_limit_v3, with another max_change_bytes", "capture_insert_limit_v3"),
    ("capture_insert_v2, likewise, of a table enabled before", "capture_insert_v2"),
    ("capture_insert_v1, of any other table", "capture_insert_v1"),
)


async def measure(rounds: int) -> list[Figure]:
    """Print the time of an insert by table, and what it is more than in the table before."""
    with tempfile.TemporaryDirectory(prefix="realtime-bench-") as name:
        async with postgres(Path(name), settings=QUIET) as database:
            session = await asyncpg.connect(database.url)
            try:
                await _install(session, database.url)
                made = [part.table for part in (*PARTS, *OTHERS)]
                tables = ["bare", *made, *(function for _, function in INSTALLED)]
                return _report(await _take_turns(session, tables, 20 * rounds))
            finally:
                await session.close()


async def _install(session: Any, url: str) -> None:
    """Make all tables; the notifier is awake for an hour, and nobody reads."""
    await session.execute("create table first (id int)")
    database = Database(Project(database_url=url))
    try:
        await Catalogue(database).enable(Table("public", "first"), [Event.INSERT], None, 1_048_576)
    finally:
        await database.close()
    await session.execute(
        "select setval('realtime.silent_until', extract(epoch from now())::bigint + 3600);"
        "grant create on schema realtime to realtime_owner"
    )
    await session.execute(create_table("bare", GENERATED))
    for part in (*PARTS, *OTHERS):
        await session.execute(create_table(part.table, GENERATED))
        await _make_function(session, part)
        await _make_trigger(session, part.table, f"made_{part.table}")
    for _, function in INSTALLED:
        await session.execute(create_table(function, GENERATED))
        await _make_trigger(session, function, function)


async def _make_function(session: Any, part: Part) -> None:
    outbox = f"realtime.{part.table}"
    if part.body:
        await session.execute(f"""
            create table {outbox} (
                id bigint generated always as identity, xid xid8 not null default pg_current_xact_id(),
                schema_name text not null, table_name text not null, event text not null, data text not null,
                old text, truncated boolean not null default false,
                at timestamptz not null default statement_timestamp(),
                {"primary key (id)" if part.is_keyed_by_id else "primary key (xid, id)"}
            );
            {f"create index on {outbox} (xid);" if part.is_keyed_by_id else ""}
            grant insert {part.rights} on {outbox} to realtime_owner
        """)
    role = "" if part.settings is None else f"security definer {part.settings}"
    await session.execute(
        f"create function realtime.made_{part.table}() returns trigger language plpgsql {role} as $$ begin"
        f" {part.body.replace('{outbox}', outbox)} return null; end $$"
    )
    if role:
        await session.execute(f"alter function realtime.made_{part.table}() owner to realtime_owner")


async def _make_trigger(session: Any, table: str, function: str) -> None:
    await session.execute(
        f"create trigger capture after insert on {table} referencing new table as new_rows"
        f" for each statement execute function realtime.{function}('1048576', '', 'own', '6')"
    )


async def _take_turns(session: Any, tables: list[str], rounds: int) -> dict[str, float]:
    """Return the median of all runs of each table, in µs an insert."""
    for table in tables:
        insert = INSERT.format(table=table).replace(":client_id", "5")
        await session.execute(
            f"create procedure insert_{table}() language plpgsql as $$ begin"
            f" for i in 1..{ROWS} loop {insert} commit; end loop; end $$"
        )
    runs: dict[str, list[float]] = {table: [] for table in tables}
    for number in range(rounds + 2):
        for table in tables if number % 2 == 0 else reversed(tables):
            began = time.perf_counter()
            await session.execute(f"call insert_{table}()")
            runs[table].append((time.perf_counter() - began) / ROWS * 1e6)
    return {table: statistics.median(of_table[2:]) for table, of_table in runs.items()}


def _report(medians: dict[str, float]) -> list[Figure]:
    bare = before = medians["bare"]
    print("one row and one transaction at a time, no wait for the disk, nobody reads; medians:")
    print(f"  {'no trigger':<58}{bare:>6.1f} µs")
    figures = []
    for part in PARTS:
        now = medians[part.table]
        print(f"  {part.label:<58}{now:>6.1f} µs, {now - before:+.1f}")
        figures.append(Figure(f"an insert, {part.label}", now, "µs", {"the line before": before}))
        before = now
    for part in OTHERS:
        now = medians[part.table]
        print(f"    all of that, {part.label:<43}{now:>6.1f} µs, {now - before:+.1f}")
        figures.append(Figure(f"an insert, all of that, {part.label}", now, "µs", {"all of that": before}))
    for label, function in INSTALLED:
        print(f"  {label:<58}{medians[function]:>6.1f} µs, {medians[function] - bare:.1f} in all")
        figures.append(Figure(f"an insert, {label}", medians[function], "µs", {"no trigger": bare}))
    return figures
