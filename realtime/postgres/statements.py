"""The statements that change the triggers of a table, as text for people. Pure.

The catalogue passes tables that exist. The text runs in psql, and does there what a gateway does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from realtime.channels import Event, Table

LOCK_WAIT = "100ms"  # how long writers may queue behind one attempt

_PLAIN = re.compile("[a-z_][a-z0-9_]*")

INSTALLS = "-- Before that the schema realtime is installed, by what `realtime migrate --print-sql` prints.\n"
NOTHING = "-- Nothing: the schema realtime is not installed, so no table is enabled.\n"


def enable_sql(
    table: Table, events: Iterable[Event], columns: Sequence[str] | None, max_change_bytes: int
) -> str:
    """Return what puts the triggers on a table and its partitions."""
    listed = "null" if columns is None else _array(columns)
    arguments = f"{_regclass(table)}, {_array(events)}, {listed}, {max_change_bytes}"
    return _transaction(f"select realtime.enable_v1({arguments});")


def disable_sql(table: Table) -> str:
    """Return what puts the triggers of a table and its partitions to sleep."""
    return _transaction(f"select realtime.disable_v1({_regclass(table)});")


def _transaction(statement: str) -> str:
    return f"begin;\nset local lock_timeout = {_literal(LOCK_WAIT)};\n{statement}\ncommit;\n"


def _regclass(table: Table) -> str:
    return f"{_literal(f'{_identifier(table.schema)}.{_identifier(table.name)}')}::regclass"


def _identifier(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"'


def _array(texts: Iterable[str]) -> str:
    return f"array[{', '.join(map(_literal, texts))}]"


def _literal(text: str) -> str:
    """Quote a text; with a backslash in the form that means the same under every setting."""
    quoted = "'" + text.replace("'", "''").replace("\\", "\\\\") + "'"
    return f"E{quoted}" if "\\" in text else quoted
