"""The format of messages in Redis: a line per message, a publication for consecutive lines.

The notifier makes the lines of changes, and `append_v2.lua` puts `EPOCH FIRST_OFFSET` on top. History and
PUBLISH carry the result unchanged, and the gateway reads it. Row data stays the text that Postgres wrote.

    k3v9x2ab 17\\n
    I"schema":"public","table":"users","event":"INSERT","data":{...},"old":null,"commit_timestamp":"..."\\n
    U"schema":"public", ...
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

import msgspec

from realtime.channels import Event, Table
from realtime.errors import ClientError, Code

EVENT_OF_MARK = {ord(event.value[0]): event for event in Event}


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A position in a topic's history: after `offset` messages of `epoch`. Clients see it as an opaque id."""

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.offset}"


# As Position writes it: an epoch is from `new_epoch`; scripts with `reign_v1.lua` append a shortened replid.
_POSITION = re.compile(r"([0-9a-f]{12}(?:[0-9a-f]{8})?)-(0|[1-9][0-9]{0,14})")


def parse_position(text: str) -> Position:
    """Parse what a client sends as `since`; raises ClientError `invalid_message`."""
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
        """The part of this publication after `offset`; all of it if `offset` is before its first message."""
        skip = offset + 1 - self.first
        return self if skip <= 0 else Publication(self.epoch, self.first + skip, self.lines[skip:])


def read_publication(raw: bytes) -> Publication:
    """Parse a publication of `append_v2.lua`, or of `reset_v1.lua`: a new epoch without a message."""
    head, *lines = raw.split(b"\n")
    epoch, first = head.split(b" ")
    return Publication(epoch.decode(), int(first), lines)


def replid_of(epoch: str) -> str:
    """The shortened replid of the Redis server in which an epoch began; "" for an epoch without one."""
    return epoch[12:]


def replid_in(replication: object) -> str:
    """The replid in a reply to INFO replication, shortened as in `reign_v1.lua`; "" if the reply has none."""
    return str(replication.get("master_replid", ""))[:8] if isinstance(replication, dict) else ""


class Sender(msgspec.Struct, frozen=True):
    """The sender of a broadcast, set by the server; `connection_id` is None for a REST request."""

    connection_id: str | None
    user_id: str | None


_TIMESTAMP = b'timestamp":"'  # the key of a broadcast's time, or the end of a change's `commit_timestamp`

TO_ALL, NOT_TO_SENDER = b"B", b"N"  # first byte of a broadcast's line; a connection id follows `N`


def broadcast_line(payload: bytes, sender: Sender, timestamp: str, to_self: bool) -> bytes:
    """Return one broadcast as a line; `payload` is the JSON text that the client sent."""
    # JSON treats a newline between tokens like a space, and allows no newline inside a token.
    body = b'"payload":' + payload.replace(b"\n", b" ") + b',"sender":' + msgspec.json.encode(sender)
    body += b',"timestamp":"' + timestamp.encode() + b'"'
    if to_self or sender.connection_id is None:
        return TO_ALL + body
    return NOT_TO_SENDER + sender.connection_id.encode() + b" " + body


def written_at(line: bytes) -> float | None:
    """Return the timestamp inside a line, in seconds since 1970; None if Python cannot represent it.

    The service writes the timestamp after all data of a row or a client, so the last one in the line is ours.
    A superuser may have written a change by hand, with the time `infinity` or in the year 12026.
    """
    start = line.rfind(_TIMESTAMP) + len(_TIMESTAMP)
    try:
        return datetime.fromisoformat(line[start : line.index(b'"', start)].decode()).timestamp()
    except ValueError:
        return None


def is_change(line: bytes) -> bool:
    """Whether a line is a change, and not a broadcast."""
    return line[0] in EVENT_OF_MARK


def line_prefix(table: Table, event: Event) -> str:
    """Return the beginning of every change line of a table and event, up to the value of `data`."""
    schema, name = (msgspec.json.encode(part).decode() for part in (table.schema, table.name))
    return f'{event.value[0]}"schema":{schema},"table":{name},"event":"{event.value}","data":'


def change_line(prefix: str, data: str, old: str | None, committed_at: str, truncated: bool) -> str:
    """Return one change as a line; `data` and `old` are JSON text, `committed_at` is RFC 3339 in UTC."""
    suffix = ',"truncated":true' if truncated else ""
    return f'{prefix}{data},"old":{old or "null"},"commit_timestamp":"{committed_at}"{suffix}'
