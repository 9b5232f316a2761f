"""What rows of the outbox mean: topics, and the beginnings of lines."""

from __future__ import annotations

from typing import Any

import pytest

from notifier.feed.outbox_rows import MAX_DEEP, is_object, table_facts, topics_of
from realtime.channels import Event, Table
from realtime.publications import line_prefix


def shed(schema: str | None, name: str | None, raw: tuple[bytes, bytes] | None = None) -> dict[str, Any]:
    raw_schema, raw_table = raw or (None, None)
    return {"schema_name": schema, "table_name": name, "raw_schema": raw_schema, "raw_table": raw_table}


def test_a_table_has_one_topic_and_the_beginning_of_a_line_for_each_event() -> None:
    topic, prefixes = table_facts("public", "orders")
    table = Table("public", "orders")
    assert topic == table.topic
    assert prefixes == {str(event.value): line_prefix(table, event) for event in Event}
    assert len(set(prefixes.values())) == len(Event)


def test_topics_of_rows_that_were_left_out_are_named_in_order() -> None:
    rows = [shed("public", "orders"), shed(None, None, (b"public", "Märkte".encode()))]
    assert list(topics_of(rows)) == [Table("public", "orders").topic, Table("public", "Märkte").topic]


def test_a_name_that_is_no_text_has_no_topic_and_hides_no_other() -> None:
    rows = [shed(None, None, (b"public", b"\xff\xfe")), shed("public", "orders")]
    assert list(topics_of(rows)) == [Table("public", "orders").topic]


def deep(levels: int, inside: str = "", before: str = "[", after: str = "]") -> str:
    return '{"a": ' + before * levels + inside + after * levels + "}"


ROWS = [
    "{}",
    '{"id": 1, "note": "a \\"b\\\\", "price": 1e400, "tags": ["}", null]}',
    '{"note": "Märkte", "id":\n1} ',
    deep(5_000),
    deep(5_000, '"]}\\"]", 1, {}, "\\\\"'),
    deep(5_000, "1", '{"a": ', "}"),
]
NO_ROWS = [
    "",
    " {}",
    "5",
    "null",
    "[]",
    '"{}"',
    "{",
    "{}}",
    '{},"channel":"chat","type":"broadcast"',
    '{"a": 1}, "channel": "chat", "b": {}',
    "{} {}",
    "{a}",
    '{"a": "\n"}',
    '{"a": NaN}',
    deep(5_000) + ',"channel":"chat"',
    deep(5_000) + ',"channel":{}',
    deep(5_000) + ',"channel":"}',
    deep(5_000)[:-1],
    deep(5_000) + "}",
    deep(5_000, '"'),
    deep(MAX_DEEP),
]


@pytest.mark.parametrize("text", ROWS, ids=lambda text: text[:20])
def test_one_object_is_a_row(text: str) -> None:
    assert is_object(text)


@pytest.mark.parametrize("text", NO_ROWS, ids=lambda text: text[:20])
def test_what_is_more_or_less_than_one_object_is_no_row(text: str) -> None:
    assert not is_object(text)
