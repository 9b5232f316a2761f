"""The form in which changes travel: a line a change, a publication for many.

The notifier makes lines, `append_v1.lua` puts `EPOCH FIRST_OFFSET` on top, history and PUBLISH carry
the result unchanged, and the gateway reads it. Row data stays the text that Postgres wrote.

    k3v9x2ab 17\\n
    I"schema":"public","table":"users","event":"INSERT","data":{...},"old":null,"commit_timestamp":"..."\\n
    U"schema":"public", ...
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from realtime.channels import Event, Table
from realtime.errors import ClientError, Code

EVENT_OF_MARK = {ord(event.value[0]): event for event in Event}


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a topic's history: after `offset` messages of `epoch`. Clients see it as an opaque id."""

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.offset}"


# As `new_epoch`, `reign_v1.lua` and Position write it.
_POSITION = re.compile(r"([0-9a-f]{12}(?:[0-9a-f]{8})?)-(0|[1-9][0-9]{0,14})")


def parse_position(text: str) -> Position:
    """Read what a client sends as `since`; raises ClientError `invalid_message`."""
    match = _POSITION.fullmatch(text)
    if match is None:
        raise ClientError(Code.INVALID_MESSAGE, "`since` is not an id or position of this service")
    return Position(match[1], int(match[2]))


@dataclass(frozen=True, slots=True)
class Publication:
    """Consecutive messages of one topic: `lines[i]` has the offset `first + i`."""

    epoch: str
    first: int
    lines: list[bytes]

    @property
    def last(self) -> int:
        return self.first + len(self.lines) - 1

    def after(self, offset: int) -> Publication:
        """The part of it beyond `offset`; the whole where nothing overlaps."""
        skip = offset + 1 - self.first
        return self if skip <= 0 else Publication(self.epoch, self.first + skip, self.lines[skip:])


def read_publication(raw: bytes) -> Publication:
    """Read what `append_v1.lua` wrote, or `reset_v1.lua`: a new epoch without a message."""
    head, *lines = raw.split(b"\n")
    epoch, first = head.split(b" ")
    return Publication(epoch.decode(), int(first), lines)


def replid_of(epoch: str) -> str:
    """The replid of the Redis in which an epoch began, shortened; "" where it does not matter."""
    return epoch[12:]


def replid_in(replication: Any) -> str:
    """The replid in an answer to INFO replication, as `reign_v1.lua` shortens it; "" where there is none."""
    return str(replication.get("master_replid", ""))[:8] if isinstance(replication, dict) else ""


class Sender(msgspec.Struct, frozen=True):
    """Who broadcasts: set by the server; `connection_id` None is a request by REST."""

    connection_id: str | None
    user_id: str | None


_TIMESTAMP = b'timestamp":"'  # of a broadcast, or the end of a change's `commit_timestamp`

TO_ALL, NOT_TO_SENDER = b"B", b"N"  # marks of a broadcast's line; the latter is followed by a connection id


def broadcast_line(payload: bytes, sender: Sender, timestamp: str, to_self: bool) -> bytes:
    """One broadcast as a line; `payload` is the JSON that came in."""
    # Between the tokens of JSON a newline is as good as a space; inside of them it cannot stand.
    body = b'"payload":' + payload.replace(b"\n", b" ") + b',"sender":' + msgspec.json.encode(sender)
    body += b',"timestamp":"' + timestamp.encode() + b'"'
    if to_self or sender.connection_id is None:
        return TO_ALL + body
    return NOT_TO_SENDER + sender.connection_id.encode() + b" " + body


def written_at(line: bytes) -> float | None:
    """The time that a message tells of itself, in seconds since 1970; None if it is none, or not of our days.

    It stands behind all that a row or a client may bring, so the last one is ours. A superuser may have
    written a change by hand: at `infinity`, or in the year 12026.
    """
    start = line.rfind(_TIMESTAMP) + len(_TIMESTAMP)
    try:
        return datetime.fromisoformat(line[start : line.index(b'"', start)].decode()).timestamp()
    except ValueError:
        return None


def is_change(line: bytes) -> bool:
    """Whether a line tells of a change, and not of a broadcast."""
    return line[0] in EVENT_OF_MARK


def line_prefix(table: Table, event: Event) -> str:
    """What the line of each change of a table begins with, up to its `data`."""
    schema, name = (msgspec.json.encode(part).decode() for part in (table.schema, table.name))
    return f'{event.value[0]}"schema":{schema},"table":{name},"event":"{event.value}","data":'


def change_line(prefix: str, data: str, old: str | None, committed_at: str, truncated: bool) -> str:
    """One change as a line; `data` and `old` are JSON text, `committed_at` RFC 3339 in UTC."""
    mark = ',"truncated":true' if truncated else ""
    return f'{prefix}{data},"old":{old or "null"},"commit_timestamp":"{committed_at}"{mark}'
