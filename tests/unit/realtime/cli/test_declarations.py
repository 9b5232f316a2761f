"""The TypeScript of a row: by the type of each column, and unbreakable by any name."""

from __future__ import annotations

import ast
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.channels import Table
from realtime.cli.declarations import DEEPEST, Integers, declarations, key, literal
from realtime.postgres.column_types import TypedColumn, TypedTables, TypeFacts

NUMERIC = 1700


def facts(name: str = "t", kind: str = "b", **more: object) -> TypeFacts:
    plain = {
        "is_builtin": True,
        "base": None,
        "modifier": -1,
        "dimensions": 0,
        "not_null": False,
        "element": None,
        "labels": (),
        "attributes": (),
        "is_cast_to_json": False,
    }
    return TypeFacts(name=name, kind=kind, **plain | more)  # type: ignore[arg-type]


def column(of: int = 1, name: str = "c", modifier: int = -1, **more: object) -> TypedColumn:
    return TypedColumn(name, of, modifier, **{"dimensions": 0, "not_null": True} | more)  # type: ignore[arg-type]


def text_of(
    types: dict[int, TypeFacts], *columns: TypedColumn, integers: str = "number", table: str = "t"
) -> str:
    tables = {Table("public", table): columns or (column(),)}
    return declarations(TypedTables(tables, types), Integers(integers))


def type_of(types: dict[int, TypeFacts], one: TypedColumn | None = None, integers: str = "number") -> str:
    """The type that a column got."""
    (found,) = re.findall(r"^    c: (.*);$", text_of(types, one or column(), integers=integers), re.MULTILINE)
    return found


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("bool", "boolean"),
        ("int2", "number"),
        ("int4", "number"),
        ("int8", "number"),
        ("float8", "number"),
        ("numeric", "number"),
        ("text", "string"),
        ("timestamptz", "string"),
        ("bytea", "string"),
        ("int4range", "string"),
        ("money", "string"),
        ("uuid", "string"),
        ("jsonb", "Json"),
        ("json", "Json"),
    ],
)
def test_a_type_is_what_json_parse_makes_of_it(name: str, written: str) -> None:
    text = text_of({1: facts(name)}, column())
    assert f"    c: {written};" in text
    assert ("export type Json" in text) == (written == "Json")


def test_a_type_of_a_user_is_a_string_whatever_its_name_is() -> None:
    assert type_of({1: facts("jsonb", is_builtin=False)}) == "string"
    assert type_of({1: facts("hstore", is_builtin=False, is_cast_to_json=True)}) == "Json"


@pytest.mark.parametrize(
    ("name", "modifier", "written"),
    [
        ("int8", -1, "number | bigint"),
        ("int4", -1, "number"),
        ("float8", -1, "number"),
        ("numeric", -1, "number | bigint"),
        ("numeric", (12 << 16 | 2) + 4, "number"),
        ("numeric", (15 << 16 | 0) + 4, "number"),
        ("numeric", (16 << 16 | 0) + 4, "number | bigint"),
        ("numeric", (10 << 16 | 0x7FF & -6) + 4, "number | bigint"),
    ],
)
def test_integers_that_may_be_large_are_as_the_option_says(name: str, modifier: int, written: str) -> None:
    types = {NUMERIC: facts(name)}
    assert type_of(types, column(NUMERIC, modifier=modifier), "bigint") == written
    assert type_of(types, column(NUMERIC, modifier=modifier), "string") == written.replace("bigint", "string")
    assert type_of(types, column(NUMERIC, modifier=modifier)) == "number"


def test_json_has_the_same_integers() -> None:
    assert "boolean | number | bigint | string" in text_of({1: facts("jsonb")}, integers="bigint")


def test_what_may_be_null_says_so() -> None:
    domain = {1: facts("d", "d", base=2, not_null=True), 2: facts("text")}
    assert type_of({1: facts("text")}, column(not_null=False)) == "string | null"
    assert type_of(domain, column(not_null=False)) == "string"


def test_a_domain_is_its_base() -> None:
    array = {1: facts("d", "d", base=2, dimensions=2), 2: facts("_int4", element=3), 3: facts("int4")}
    assert type_of(array) == "(number | null)[][]"


def test_an_array_has_elements_that_may_be_null() -> None:
    types = {1: facts("_int8", element=2), 2: facts("int8")}
    assert type_of(types) == "(number | null)[]"
    assert type_of(types, column(dimensions=2)) == "(number | null)[][]"
    assert type_of(types, integers="bigint") == "(number | bigint | null)[]"


def test_an_enum_is_a_union_of_its_labels() -> None:
    assert type_of({1: facts("e", "e", labels=("new", 'a"b'))}) == r'"new" | "a\"b"'
    assert type_of({1: facts("e", "e")}) == "never"


def test_a_composite_type_is_an_object() -> None:
    attributes = (column(2, "street", not_null=False), column(2, "zip code", not_null=False))
    types = {1: facts("address", "c", attributes=attributes), 2: facts("text")}
    assert type_of(types) == '{ street: string | null; "zip code": string | null }'


def test_a_type_that_is_not_known_or_contains_itself_is_unknown() -> None:
    assert type_of({}) == "unknown"
    assert type_of({1: facts("_t", element=1)}).count("null") == DEEPEST + 1


def test_a_table_is_named_as_a_client_names_it() -> None:
    names = {("public", "orders"): "orders", ("audit", "logins"): '"audit.logins"'}
    names |= {("public", "odd.name"): r'"\"odd.name\""', ("public", "class"): "class"}
    tables = {Table(*name): (column(),) for name in names}
    text = declarations(TypedTables(tables, {1: facts("text")}), Integers.NUMBER)
    assert re.findall(r"^  (.*): \{$", text, re.MULTILINE) == list(names.values())


HOSTILE = [
    '"',
    "'",
    "`",
    "*/",
    "\n",
    "\r",
    "\u2028",
    "\\",
    "\\u0022",
    "${x}",
    "</script>",
    "\u202e",
    "\x00",
    "\u017f",
]


def test_types_of_types_of_types_have_a_bound() -> None:
    types = {1: facts("int4")} | {
        number: facts("t", "c", attributes=tuple(column(number - 1, name) for name in "ab"))
        for number in range(2, DEEPEST)
    }
    text = text_of(types, column(DEEPEST - 1, "wide"), column(4, "narrow"))
    assert len(text) < 100_000
    assert "unknown" in text
    assert "unknown" not in text[text.index("narrow") :]


@pytest.mark.parametrize("name", [*HOSTILE, "; } evil: {", "__proto__", "1a", "", "a-b", "日本"])
def test_a_hostile_name_stays_in_its_literal(name: str) -> None:
    types = {1: facts("e", "e", labels=(name,))}
    lines = text_of(types, column(name=name), table=name).splitlines()
    assert len(lines) == len(text_of({1: facts("e", "e", labels=("x",))}).splitlines())
    assert all(line.isprintable() for line in lines)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_literal_is_one_line_and_means_its_text(text: str) -> None:
    written = literal(text)
    assert written.isprintable()
    inner = re.sub(r"\\u\{([0-9a-f]+)\}", lambda found: f"\\U{int(found[1], 16):08x}", written)
    assert ast.literal_eval(inner) == text
    assert key(text) in (text, written)
