"""A record is one line of JSON or text that its reader can parse, whatever hostile fact is in it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from enum import IntEnum, StrEnum
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.logs.format import as_json, as_text, clean, escape_controls

RENDERERS = pytest.mark.parametrize("render", [as_json, as_text])


class Number(IntEnum):
    ONE = 1


class Word(StrEnum):
    HALF = "a\ud83d"


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError


class Endless(Mapping[str, Any]):
    """Contains itself."""

    def __getitem__(self, _: str) -> Any:
        return self

    def __iter__(self) -> Iterator[str]:
        return iter(["again"])

    def __len__(self) -> int:
        return 1


def rendered(fact: Any, render: Any = as_json) -> str:
    record = logging.LogRecord("tests", logging.INFO, "", 1, "", None, None)
    return render(None, "info", {"_record": record, "_from_structlog": True, "event": "ready", "fact": fact})


@RENDERERS
@pytest.mark.parametrize(
    "fact",
    [
        "\ud800",
        "\udfff" * 3,
        "\ud83d\ude00",
        {"\ud800": "\udc00"},
        b"\xff\xfe",
        10**30,
        -(10**30),
        10**5000,
        [10**5000],
        {10**5000: 1},
        1e308,
        float("nan"),
        float("-inf"),
        Number.ONE,
        Word.HALF,
        Endless(),
        {Broken(): Broken()},
        {None: 1, True: 2, 1.5: 3, (1, 2): 4},
        "</script>\x00\x7f\x9b2J\u2028",
    ],
    ids=lambda fact: type(fact).__name__,
)
def test_no_fact_costs_the_record(render: Any, fact: Any) -> None:
    line = rendered(fact, render)
    assert line.isprintable()
    assert line.encode()
    if render is as_json:
        found = json.loads(line)
        assert found == msgspec.json.decode(line)
        assert (found["event"], list(found)[-1]) == ("ready", "fact")


FACTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=8,
)


@given(FACTS)
def test_json_is_what_the_standard_library_reads_back(fact: Any) -> None:
    line = rendered(fact)
    assert line.isascii()
    assert line.isprintable()
    found = json.loads(line, parse_constant=pytest.fail)
    assert found["fact"] == json.loads(json.dumps(clean(fact)))


@given(FACTS)
def test_text_is_one_line_whatever_the_fact(fact: Any) -> None:
    assert len(rendered(fact, as_text).splitlines()) == 1


@pytest.mark.parametrize(
    ("fact", "written"),
    [
        (2**64 - 1, "18446744073709551615"),
        (2**64, '"18446744073709551616"'),
        (-(2**63), "-9223372036854775808"),
        ([10**5000], '["<int without a repr>"]'),
        (0.1 + 0.2, "0.30000000000000004"),
        ("https://a/b", '"https://a/b"'),
        ("ü\n", r'"\u00fc\n"'),
    ],
)
def test_numbers_and_text_keep_their_form(fact: Any, written: str) -> None:
    assert rendered(fact).endswith(f', "fact": {written}}}')


def test_controls_are_written_as_json_escapes_them() -> None:
    text = "a\x7f\x9b2J\u2029ü"
    assert json.loads('"' + escape_controls(text) + '"') == text
    assert escape_controls("a\x1bü") == r"a\u001bü"
