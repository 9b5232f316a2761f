"""What is in rows of the outbox: the topic of a table, how its lines begin, and what is a row. No SQL."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import accumulate
from operator import indexOf

import msgspec

from notifier.feed.feed_row import Fields
from realtime.channels import Event, Table
from realtime.publications import line_prefix

MAX_DEEP = 1_048_576  # characters of a row that is too deep for `_scan`

_scan = msgspec.json.Decoder(msgspec.Raw).decode
_BETWEEN_BRACKETS = re.compile(r'"[^"]*"|[^][{}"]+')  # in a text without escapes


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


def is_object(text: str) -> bool:
    """Tell whether a text is one JSON object and nothing behind it, as each row is that a trigger wrote.

    A forged text could end the object of its row, and give other fields to the messages of clients.
    """
    if text[:1] != "{":
        return False
    try:
        _scan(text)
    except msgspec.DecodeError:
        return False
    except RecursionError:  # about a thousand levels; the type jsonb allows several thousand
        return len(text) <= MAX_DEEP and _ends_with_its_object(text)
    return True


def _ends_with_its_object(text: str) -> bool:
    """Tell whether the first bracket is closed by the end of the text; what is between may be no JSON."""
    brackets = _BETWEEN_BRACKETS.sub("", text.replace(r"\\", "").replace(r"\"", ""))
    if '"' in brackets or text.rstrip()[-1] != "}":
        return False
    depths = accumulate(1 if bracket in "[{" else -1 for bracket in brackets)
    with suppress(ValueError):
        return indexOf(depths, 0) == len(brackets) - 1
    return False
