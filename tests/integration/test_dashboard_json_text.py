"""JSON as the dashboard cuts and checks it (`json_text.js`), compared with what a JSON parser says."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from tests.browser_fixture import Tabs
from tests.gateway_fixture import Gateway

MODULE = "import('/dashboard/json_text.js')"
ROUNDS = 400
STRANGE = [
    '"',
    "\\",
    '\\"',
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "é",
    "\u202e",
    "😀",
    "\n",
    "\u0000",
    "</script>",
    "__proto__",
]


def some_text(chance: random.Random) -> str:
    return "".join(chance.choices([*STRANGE, "a", "b", " "], k=chance.randrange(6)))


def some_json(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.randrange(6 if depth < 4 else 4)
    if kind == 4:
        return [some_json(chance, depth + 1) for _ in range(chance.randrange(4))]
    if kind == 5:
        return {some_text(chance): some_json(chance, depth + 1) for _ in range(chance.randrange(4))}
    return [None, chance.choice([True, False]), chance.uniform(-1e9, 1e9), some_text(chance)][kind]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_parts_are_what_a_parser_finds(gateway: Gateway, tabs: Tabs, seed: int) -> None:
    chance = random.Random(seed)
    page = await tabs.open(f"{gateway.url}/dashboard")
    values = [some_json(chance) for _ in range(ROUNDS)]
    texts = [
        json.dumps(value, ensure_ascii=chance.random() < 0.5, indent=chance.choice([None, 1]))
        for value in values
    ]
    found = await page.evaluate(
        f"async (texts) => {{ const {{ parts }} = await {MODULE}; return texts.map((text) => parts(text)) }}",
        texts,
    )
    assert any(isinstance(value, dict) and len(value) > 2 for value in values)
    for value, parts in zip(values, found, strict=True):
        if isinstance(value, dict):
            assert [(name, json.loads(text)) for name, text in parts] == list(value.items())
        elif isinstance(value, list):
            assert [json.loads(text) for _, text in parts] == value
        else:
            assert parts is None


async def test_digits_of_a_part_are_those_of_the_text(gateway: Gateway, tabs: Tabs) -> None:
    page = await tabs.open(f"{gateway.url}/dashboard")
    text = '{"big": 12345678901234567890.10 , "tiny":1e-400,"twice":[1.0, 2.50]}'
    found = await page.evaluate(f"async (text) => (await {MODULE}).parts(text)", text)
    assert found == [["big", "12345678901234567890.10"], ["tiny", "1e-400"], ["twice", "[1.0, 2.50]"]]


async def test_a_mistake_is_found_where_there_is_one_and_nowhere_else(gateway: Gateway, tabs: Tabs) -> None:
    chance = random.Random(4)
    page = await tabs.open(f"{gateway.url}/dashboard")
    texts = []
    for _ in range(2 * ROUNDS):
        text = json.dumps(some_json(chance))
        at = chance.randrange(len(text))
        texts.append(text[:at] + chance.choice(["", *STRANGE, "1", "tru", "'"]) + text[at + 1 :])
    # A parser of the browser is the judge: that of Python takes NaN, too.
    judge = f"""async (texts) => {{
        const {{ mistake }} = await {MODULE}
        return texts.map((text) => {{
            let isJson = true
            try {{ JSON.parse(text) }} catch {{ isJson = false }}
            return [isJson, mistake(text)]
        }})
    }}"""
    verdicts = await page.evaluate(judge, texts)
    assert {is_json for is_json, _ in verdicts} == {True, False}
    for text, (is_json, said) in zip(texts, verdicts, strict=True):
        assert (said is None) == is_json, text
        assert said is None or said.startswith("Line "), said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1,\n "b" 2}', "Line 2, column 6: a colon"),
        ('{"a": 1\n "b": 2}', "Line 2, column 2: a comma or }"),
        ("[1, 2", "Line 1, column 6: the text ends before its ]"),
        ("{'a': 1}", "Line 1, column 2: a name in double quotes"),
        ('["a\nb"]', "Line 1, column 4: a line break"),
        ("[" * 100_000, "Line 1, column 100001: the text ends"),
        ('["' + "x" * 1_000_000, "Line 1, column 2: the text in quotes has no end"),
    ],
)
async def test_the_place_of_a_mistake_is_told(gateway: Gateway, tabs: Tabs, text: str, said: str) -> None:
    page = await tabs.open(f"{gateway.url}/dashboard")
    assert (await page.evaluate(f"async (text) => (await {MODULE}).mistake(text)", text)).startswith(said)


async def test_what_cannot_be_seen_is_spelled_out(gateway: Gateway, tabs: Tabs) -> None:
    page = await tabs.open(f"{gateway.url}/dashboard")
    shown = await page.evaluate(f"async (text) => (await {MODULE}).seen(text)", "a\u202eb\u200b\ufeff\té😀")
    assert shown == "a\\u202eb\\u200b\\ufeff\\u0009é😀"
