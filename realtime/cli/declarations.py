"""TypeScript types of tables: what `JSON.parse` makes of the JSON that Postgres' to_jsonb writes.

`realtime types` prints the text. Names come from a database and may be anything; each stands in the text as
an identifier of plain letters or as a quoted literal, and never in a comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from realtime.channels import Table
from realtime.postgres.column_types import TypedColumn, TypedTables, TypeFacts

DEEPEST = 32  # of types inside types; Postgres refuses a type that contains itself
# Attributes of composite types in one column, more than a table has: types of two attributes each would
# double the text at each step.
MOST_ATTRIBUTES = 2_000
SAFE_DIGITS = 15  # an integer of so many digits is a number without rounding

HEAD = "// Written by `realtime types`: run it again after the tables have changed.\n"

NUMBERS = ("int2", "int4", "float4", "float8")
LARGE = ("int8", "numeric")
JSON = ("json", "jsonb")

_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")


class Integers(StrEnum):
    """What the client makes of an integer beyond 2^53: its option `integers`."""

    NUMBER = "number"
    BIGINT = "bigint"
    STRING = "string"

    @property
    def type(self) -> str:
        return "number" if self is Integers.NUMBER else f"number | {self.value}"


def declarations(typed: TypedTables, integers: Integers) -> str:
    """Return the TypeScript of `Db`: the type of a row of each table, by the name that a client uses."""
    writer = _Writer(typed.types, integers)
    tables = [line for table, columns in typed.tables.items() for line in writer.table(table, columns)]
    body = "\n".join([HEAD + "export type Db = {", *tables, "};\n"])
    if not writer.uses_json:
        return body
    # An interface, and not an alias: compilers resolve its members only where they are used.
    return (
        f"{body}\nexport type Json = null | boolean | {integers.type} | string | Json[] | JsonObject;\n\n"
        "export interface JsonObject {\n  [key: string]: Json;\n}\n"
    )


@dataclass(slots=True)
class _Writer:
    types: Mapping[int, TypeFacts]
    integers: Integers
    uses_json: bool = False
    _attributes: int = 0  # of the present column

    def table(self, table: Table, columns: Sequence[TypedColumn]) -> Iterator[str]:
        yield f"  {key(str(table).removeprefix('public.'))}: {{"
        for column in columns:
            self._attributes = 0
            yield f"    {key(column.name)}: {self._column(column)};"
        yield "  };"

    def _column(self, column: TypedColumn, depth: int = 0) -> str:
        written = self._type(column.type, column.modifier, column.dimensions, depth)
        facts = self.types.get(column.type)
        never_null = column.not_null or (facts is not None and facts.kind == "d" and facts.not_null)
        return written if never_null else f"{written} | null"

    def _type(self, oid: int, modifier: int, dimensions: int, depth: int) -> str:
        facts = self.types.get(oid)
        if facts is None or depth > DEEPEST or self._attributes > MOST_ATTRIBUTES:
            return "unknown"
        if facts.kind == "d" and facts.base is not None:
            return self._type(facts.base, facts.modifier, facts.dimensions or dimensions, depth + 1)
        if facts.element is not None:
            element = self._type(facts.element, modifier, 0, depth + 1)
            return f"({element} | null)" + "[]" * max(1, dimensions)
        if facts.kind == "c":
            return self._composite(facts.attributes, depth)
        if facts.kind == "e":
            return " | ".join(map(literal, facts.labels)) or "never"
        return self._scalar(facts, modifier)

    def _composite(self, attributes: Sequence[TypedColumn], depth: int) -> str:
        self._attributes += len(attributes)
        fields = [f"{key(one.name)}: {self._column(one, depth + 1)}" for one in attributes]
        return f"{{ {'; '.join(fields)} }}" if fields else "{}"

    def _scalar(self, facts: TypeFacts, modifier: int) -> str:
        if facts.is_cast_to_json or (facts.is_builtin and facts.name in JSON):
            self.uses_json = True
            return "Json"
        if not facts.is_builtin:
            return "string"
        if facts.name in LARGE:
            return "number" if _is_small(facts.name, modifier) else self.integers.type
        return {"bool": "boolean"}.get(facts.name, "number" if facts.name in NUMBERS else "string")


def _is_small(name: str, modifier: int) -> bool:
    """Whether a numeric's precision and scale leave no integer that JSON.parse would round."""
    if name != "numeric" or modifier < 4:
        return False
    precision, scale = (modifier - 4) >> 16 & 0xFFFF, (modifier - 4) & 0x7FF
    scale -= 2048 if scale >= 1024 else 0  # a negative scale is a number of zeros before the point
    return scale > 0 or precision - scale <= SAFE_DIGITS


def key(name: str) -> str:
    """Return a property's name: bare if it is an identifier of plain letters, else a literal."""
    return name if _IDENTIFIER.fullmatch(name) else literal(name)


def literal(text: str) -> str:
    """Return a text as a string literal: only printable characters stand in it, and no quote or backslash."""
    return '"' + "".join(map(_in_literal, text)) + '"'


def _in_literal(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\u{{{ord(character):x}}}"
