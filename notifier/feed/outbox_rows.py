"""What names in rows of the outbox mean: the topic of a table, and how its lines begin. Knows no SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache

from notifier.feed.feed_row import Fields
from realtime.channels import Event, Table
from realtime.publications import line_prefix


@lru_cache(maxsize=1_000)
def table_facts(schema: str, name: str) -> tuple[str, dict[str, str]]:
    """Return a table's topic, and how its lines begin, by event."""
    table = Table(schema, name)
    return table.topic, {event.value: line_prefix(table, event) for event in Event}


def topics_of(shed: Iterable[Fields]) -> Iterator[str]:
    """Yield the topics that rows of `shed.sql` name; names in bytes that are not UTF-8 have no topic."""
    for row in shed:
        schema, name = row["schema_name"], row["table_name"]
        with suppress(UnicodeDecodeError):
            if row["raw_schema"] is not None:
                schema, name = row["raw_schema"].decode(), row["raw_table"].decode()
            yield table_facts(schema, name)[0]
