"""What rows of the outbox mean: topics, and the beginnings of lines."""

from __future__ import annotations

from typing import Any

from notifier.feed.outbox_rows import table_facts, topics_of
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
