"""What happens in the project of `realtime dev`: its newest changes and connections, read from Redis.

The terminal asks a few times a second. Each answer costs Redis the same however much happens: it has the
newest few changes and connections, and the number of all. Nothing is subscribed to, so that looking is no
connection and slows no gateway.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from realtime import names
from realtime.channels import Event, Table, parse_channel
from realtime.errors import ClientError
from realtime.publications import EVENT_OF_MARK, read_publication
from realtime.redis.client import Command, Store

NEWEST = 20  # changes of one table, and publications that are read for them
MANY = 1_000  # changes of one table since the last answer; beyond them one publication is read
MOST_TABLES = 500
MOST_CONNECTIONS = 1_000  # events of one answer; the others are in the next
ROW_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True)
class Change:
    """A change: when it was published (milliseconds since 1970), and its row as JSON, cut to a few lines."""

    at_ms: int
    table: Table
    event: Event
    row: str


@dataclass(frozen=True, slots=True)
class Connection:
    """A connect or a disconnect, with the facts of the connection history."""

    at_ms: int
    facts: dict[str, Any]


@dataclass(slots=True)
class Seen:
    """What happened since the last answer: the newest of each kind in order, and how many there were."""

    changes: list[Change] = field(default_factory=list)
    change_count: int = 0
    connections: list[Connection] = field(default_factory=list)
    connection_count: int = 0


class Activity:
    """The changes and connections of one project since `begin`."""

    def __init__(self, store: Store, project: str) -> None:
        self._store = store
        self._project = project
        # Epoch and offset of each topic that was seen; None before `begin` has succeeded.
        self._positions: dict[str, tuple[bytes, int]] | None = None
        self._last_connection = b"0-0"

    async def begin(self) -> None:
        """Note what is there already; `read` returns what comes after it."""
        history = names.connection_history(self._project)
        for entry_id, _ in await self._store.call("XREVRANGE", history, "+", "-", "COUNT", 1):
            self._last_connection = entry_id
        self._positions = await self._positions_now()

    async def read(self) -> Seen:
        """Return what happened since the last call. Raises Unavailable."""
        seen = Seen()
        if self._positions is None:
            await self.begin()
            return seen
        for topic, (epoch, offset) in (await self._positions_now()).items():
            known_epoch, known = self._positions.get(topic, (epoch, 0))
            first = known if known_epoch == epoch and known <= offset else 0
            self._positions[topic] = (epoch, offset)
            if offset > first:
                seen.change_count += offset - first
                seen.changes += await self._changes(topic, first, offset)
        seen.changes.sort(key=lambda change: change.at_ms)
        seen.connections = await self._connections()
        seen.connection_count = len(seen.connections)
        return seen

    async def _positions_now(self) -> dict[str, tuple[bytes, int]]:
        topics = await self._store.call("SMEMBERS", names.tables(self._project))
        found = sorted(topic for raw in topics if (topic := _table_topic(raw)) is not None)[:MOST_TABLES]
        keys = [names.topic_meta(self._project, topic) for topic in found]
        metas = await self._store.call_many([Command(key, ("HMGET", key, "epoch", "offset")) for key in keys])
        return {
            topic: (epoch, int(offset or 0))
            for topic, (epoch, offset) in zip(found, metas, strict=True)
            if epoch is not None
        }

    async def _changes(self, topic: str, after: int, until: int) -> list[Change]:
        """Return the newest changes of a table, the oldest first."""
        key = names.topic_history(self._project, topic)
        count = NEWEST if until - after <= MANY else 1
        entries = await self._store.call(
            "XREVRANGE", key, f"{until}-{2**63}", f"{after + 1}-0", "COUNT", count
        )
        table = parse_channel(topic).table
        assert table is not None, topic
        newest = [change for entry in reversed(entries) for change in _of_entry(table, entry, after)]
        return newest[-NEWEST:]

    async def _connections(self) -> list[Connection]:
        key = names.connection_history(self._project)
        first = b"(" + self._last_connection
        entries = await self._store.call("XRANGE", key, first, "+", "COUNT", MOST_CONNECTIONS)
        for entry_id, _ in entries[-1:]:
            self._last_connection = entry_id
        return [
            Connection(int(entry_id.partition(b"-")[0]), facts)
            for entry_id, fields in entries
            if (facts := _json_object(fields.get(b"e", b"")))
        ]


def _table_topic(raw: bytes) -> str | None:
    try:
        channel = parse_channel(raw.decode())
    except (UnicodeDecodeError, ClientError):
        return None
    return channel.topic if channel.table is not None else None


def _of_entry(table: Table, entry: tuple[bytes, dict[bytes, bytes]], after: int) -> Iterator[Change]:
    """Yield the newest changes of a history entry, whose id is LAST_OFFSET-MILLISECONDS."""
    entry_id, fields = entry
    at_ms = int(entry_id.partition(b"-")[2])
    for line in read_publication(fields[b"p"]).after(after).lines[-NEWEST:]:
        event = EVENT_OF_MARK.get(line[0]) if line else None
        if event is not None:
            yield Change(at_ms, table, event, _row_of(line))


def _row_of(line: bytes) -> str:
    try:
        parts = msgspec.json.decode(b"{" + line[1:] + b"}", type=dict[str, msgspec.Raw])
        columns = msgspec.json.decode(parts["data"], type=dict[str, msgspec.Raw])
        row = msgspec.json.encode(columns)  # without Postgres' spaces between columns
    except (ValueError, KeyError, RecursionError):
        row = line[1:]
    return row[:ROW_CHARACTERS].decode(errors="replace")


def _json_object(raw: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (ValueError, RecursionError):
        return {}
