"""`realtime tables`, `enable` and `disable`: which tables there are, and realtime on or off for one."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from realtime.cli.columns import harmless, table
from realtime.cli.output import is_terminal, paint, print_answer, print_lines, terminal_width, tinted
from realtime.cli.rest import Service, service_command

ALL = "all"
STATES = {"state": {"on": "green", "off": "dim"}}


class Column(msgspec.Struct):
    name: str
    type: str


class Entry(msgspec.Struct):
    schema: str
    table_name: str
    enabled: bool
    events: list[str]
    columns: list[Column]
    primary_key: list[str]


class Tables(msgspec.Struct):
    tables: list[Entry]


class Enabled(msgspec.Struct):
    schema: str
    table_name: str
    events: list[str]
    columns: list[str] | None = None


class Disabled(msgspec.Struct):
    schema: str
    table_name: str


class Preview(msgspec.Struct):
    sql: str


@click.command()
@service_command
def tables(service: Service) -> None:
    """Print the tables that a project may use, and for which of them realtime is on."""
    answer, decoded = service.get("/tables", Tables)
    if service.as_json:
        return print_answer(answer)
    if not decoded.tables:
        return print_lines(["the project may use no table"])
    rows = [
        (
            f"{one.schema}.{one.table_name}",
            "on" if one.enabled else "off",
            words(one.events) if one.enabled else None,
            words(one.primary_key) if one.primary_key else None,
            ", ".join(f"{column.name} {column.type}" for column in one.columns),
        )
        for one in decoded.tables
    ]
    headings = ("table", "state", "events", "primary key", "columns")
    print_lines(table(headings, rows, terminal_width(), STATES, tinted))


def words(names: Sequence[str] | None) -> str:
    """Return names as a list for people; None is all of them."""
    return ALL if names is None else ", ".join(names)


def _listed(context: click.Context, option: click.Parameter, value: str | None) -> list[str] | None:
    """Split a list at its commas; a name with a comma stands in double quotes, as in CSV."""
    if value is None:
        return None
    try:
        ((*names,),) = csv.reader([value], skipinitialspace=True, strict=True)
    except (csv.Error, ValueError):
        names = []
    if not names:
        raise click.BadParameter("expected names with commas in between", context, option)
    return [name.strip() for name in names]


table_argument = click.argument("table_name", metavar="TABLE")
schema_option = click.option("--schema", help="Schema of the table; TABLE is then a name without one.")
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Print the SQL that would run, and run nothing."
)


@click.command()
@service_command
@table_argument
@schema_option
@click.option(
    "--events", callback=_listed, metavar="LIST", help="Only these of INSERT,UPDATE,DELETE; by default all."
)
@click.option(
    "--columns",
    callback=_listed,
    metavar="LIST",
    help="Only these columns leave the database; by default all.",
)
@dry_run_option
def enable(
    service: Service,
    table_name: str,
    schema: str | None,
    events: list[str] | None,
    columns: list[str] | None,
    dry_run: bool,
) -> None:
    """Turn realtime on for a table; replaces its former events and columns."""
    kinds = events and [event.upper() for event in events]
    body: dict[str, Any] = {"table_name": table_name, "schema": schema, "events": kinds, "columns": columns}
    if dry_run:
        return _print_preview(service, "/enable/preview", body)
    answer, now = service.post("/enable", body, Enabled)
    if service.as_json:
        return print_answer(answer)
    state = f"realtime is {paint('on', 'green')} for {harmless(f'{now.schema}.{now.table_name}')}"
    shown = "all columns" if now.columns is None else f"columns {harmless(words(now.columns))}"
    print_lines([f"{state}: {harmless(words(now.events))}; {shown}"])


@click.command()
@service_command
@table_argument
@schema_option
@dry_run_option
def disable(service: Service, table_name: str, schema: str | None, dry_run: bool) -> None:
    """Turn realtime off for a table."""
    body: dict[str, Any] = {"table_name": table_name, "schema": schema}
    if dry_run:
        return _print_preview(service, "/disable/preview", body)
    answer, now = service.post("/disable", body, Disabled)
    if service.as_json:
        return print_answer(answer)
    print_lines([f"realtime is off for {harmless(f'{now.schema}.{now.table_name}')}"])


def _print_preview(service: Service, path: str, body: dict[str, Any]) -> None:
    answer, decoded = service.post(path, body, Preview)
    if service.as_json:
        return print_answer(answer)
    # A pipe gets the SQL as it would run.
    lines = decoded.sql.rstrip("\n").split("\n")
    print_lines([harmless(line.expandtabs(4)) for line in lines] if is_terminal() else lines)
