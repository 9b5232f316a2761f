"""The tables of a project with the types of their columns, as `realtime types` describes them.

It reads the catalogue in one transaction that cannot write, and gives plain records: no name in them is
checked, and no value is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from realtime.channels import Table, is_nameable
from realtime.postgres.catalogue import Catalogue
from realtime.postgres.pool import Database, transaction
from realtime.postgres.session import Row, Session
from realtime.resources import packaged_text


@dataclass(frozen=True, slots=True)
class TypedColumn:
    """A column of a table, or an attribute of a composite type; `dimensions` is what was declared."""

    name: str
    type: int
    modifier: int
    dimensions: int
    not_null: bool = False


@dataclass(frozen=True, slots=True)
class TypeFacts:
    """What decides how to_jsonb writes a type; `kind` is pg_type.typtype, other types are named by oid."""

    is_builtin: bool
    name: str
    kind: str
    base: int | None
    modifier: int
    dimensions: int
    not_null: bool
    element: int | None
    labels: tuple[str, ...]
    attributes: tuple[TypedColumn, ...]
    is_cast_to_json: bool


@dataclass(frozen=True, slots=True)
class TypedTables:
    """Tables with the columns that leave the database, and the types that these columns lead to."""

    tables: Mapping[Table, tuple[TypedColumn, ...]]
    types: Mapping[int, TypeFacts]


async def read_typed_tables(database: Database) -> TypedTables:
    """Read every table that the project may use and that a channel can name."""
    usable = {
        info.table: None if info.enabled is None else info.enabled.columns
        for info in await Catalogue(database).tables()
        if is_nameable(info.table)
    }
    async with database.connection() as connection, transaction(connection, "repeatable_read", readonly=True):
        found: dict[Table, list[TypedColumn]] = {table: [] for table in usable}
        for row in await connection.fetch(_query("column_types")):
            schema, name, *facts = row.values()
            table, column = Table(schema, name), TypedColumn(*facts)
            if table in usable and ((listed := usable[table]) is None or column.name in listed):
                found[table].append(column)
        tables = {table: tuple(columns) for table, columns in found.items()}
        wanted = {column.type for columns in tables.values() for column in columns}
        return TypedTables(tables, await _types(connection, wanted))


async def _types(connection: Session, wanted: set[int]) -> dict[int, TypeFacts]:
    """Read types, and the types that they are made of, until nothing is missing."""
    known: dict[int, TypeFacts] = {}
    while wanted:
        rows = await connection.fetch(_query("types"), sorted(wanted))
        found = {row["type"]: _type_facts(row) for row in rows}
        known |= found
        wanted = {part for facts in found.values() for part in _parts(facts)} - known.keys()
    return known


def _type_facts(row: Row) -> TypeFacts:
    facts = {name: row[name] for name in TypeFacts.__dataclass_fields__}
    attributes = tuple(TypedColumn(*attribute) for attribute in row["attributes"])
    return TypeFacts(**facts | {"labels": tuple(row["labels"]), "attributes": attributes})


def _parts(facts: TypeFacts) -> list[int]:
    return [
        *(oid for oid in (facts.base, facts.element) if oid is not None),
        *(attribute.type for attribute in facts.attributes),
    ]


def _query(name: str) -> str:
    return packaged_text(__package__, f"sql/{name}.sql")
