"""Redis access for connections: which connections are open, how many there may be, and their history.

The connection log and the cleanup change connections, REST reads the history. Each change is one script in
one slot, so that a connection is counted and recorded together or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.presence.change import field_of, fields_under
from gateway.presence.redis_values import json_object
from realtime import names
from realtime.redis.client import Command, Store
from realtime.redis.scripts import Call, Script
from realtime.settings.config import Limits, Settings

COUNTS_SECONDS = 7 * 24 * 3600  # an old node may clean up an incarnation, and does not know the counts of it
KEPT_CHARACTERS = 256  # of a user id, and of a User-Agent, in the connection history
PAGE = 500  # history entries in one read


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """An open connection, as every node can read it."""

    connection_id: str
    user_id: str | None
    ip: str
    user_agent: str | None
    node: str
    connected_at: float


@dataclass(frozen=True, slots=True)
class Arrival:
    """A connection to admit, under an incarnation of its node; an earlier incarnation may have it already.

    `suspects` are incarnations of other nodes that are not known to be alive: their connections do not count.
    """

    project: str
    incarnation: str
    earlier: tuple[str, ...]
    facts: Open
    limits: Limits
    is_in: bool = False  # the connection was admitted before, and is counted whatever the limits are
    suspects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Departure:
    """A connection that has ended: with which close code, why, and when (seconds since 1970).

    An earlier incarnation of its node may still have the connection.
    """

    project: str
    incarnation: str
    earlier: tuple[str, ...]
    facts: Open
    code: int
    reason: str | None
    at: float


class ConnectionStore:
    """The connections of all nodes."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._max_entries = settings.connection_history_entries
        self._max_age_ms = int(settings.connection_history_seconds * 1000)
        self._connect = Script(store, "connect_v2")
        self._disconnect = Script(store, "disconnect_v2")

    async def connect(self, arrivals: Sequence[Arrival]) -> list[str | None]:
        """Admit connections; return for each the name of the limit that forbids it, or None."""
        answers = await self._connect.call_many([self._connect_call(one) for one in arrivals])
        return [None if answer is None else str(answer.decode()) for answer in answers]

    def _connect_call(self, arrival: Arrival) -> Call:
        facts, limits, earlier = arrival.facts, arrival.limits, arrival.earlier
        return _keys(arrival.project, arrival.incarnation, *earlier, *arrival.suspects), [
            field_of(arrival.incarnation, facts.connection_id),
            msgspec.json.encode(facts),
            facts.user_id or "",
            facts.ip,
            limits.max_connections,
            limits.max_connections_per_user,
            limits.max_connections_per_ip,
            msgspec.json.encode(_event("connect", facts, facts.connected_at)),
            self._max_entries,
            self._max_age_ms,
            "in" if arrival.is_in else "ask",
            COUNTS_SECONDS * 1000,
            *(field_of(one, facts.connection_id) for one in earlier),
        ]

    async def disconnect(self, departures: Sequence[Departure]) -> None:
        """Remove connections and record how they ended; skip those that another node has removed."""
        await self._disconnect.call_many([self._disconnect_call(one) for one in departures])

    def _disconnect_call(self, departure: Departure) -> Call:
        facts, incarnations = departure.facts, (departure.incarnation, *departure.earlier)
        return _keys(departure.project, *incarnations), [
            facts.user_id or "",
            facts.ip,
            msgspec.json.encode(_end(departure)),
            self._max_entries,
            self._max_age_ms,
            *(field_of(one, facts.connection_id) for one in incarnations),
        ]

    async def open_of(self, project: str, incarnation: str) -> list[Open]:
        """Return the open connections of an incarnation."""
        scan = self._store.scan_hash(names.open_connections(project), fields_under(incarnation))
        return [_open(field, value) async for field, value in scan]

    async def history(self, project: str, before: str | None) -> list[tuple[str, dict[str, Any]]]:
        """Return a page of the connection history older than `before`, newest first, as (id, event)."""
        key = names.connection_history(project)
        ((seconds, _),) = await self._store.call_many([Command(key, ("TIME",))])
        oldest = max(0, int(seconds) * 1000 - self._max_age_ms)
        newest = f"({before}" if before else "+"
        entries = await self._store.call("XREVRANGE", key, newest, oldest, "COUNT", PAGE)
        return [(entry_id.decode(), json_object(fields.get(b"e", b""))) for entry_id, fields in entries]


def _open(field: bytes, raw: bytes) -> Open:
    """Decode an open connection; if that fails, return one with the id alone, so that it can be removed."""
    try:
        return msgspec.json.decode(raw, type=Open)
    except (ValueError, RecursionError):
        connection_id = field.rpartition(b"/")[2].decode(errors="replace")
        return Open(
            connection_id=connection_id, user_id=None, ip="", user_agent=None, node="", connected_at=0.0
        )


def kept_user(user_id: str | None) -> str | None:
    """Return the part of a user id that the connection history keeps: a token may have a user id of 6 KB."""
    return user_id and user_id[:KEPT_CHARACTERS]


def _event(kind: str, facts: Open, at: float) -> dict[str, object]:
    return {
        "event": kind,
        "connection_id": facts.connection_id,
        "user_id": kept_user(facts.user_id),
        "ip": facts.ip,
        "user_agent": facts.user_agent,
        "node": facts.node,
        "at": at,
    }


def _end(departure: Departure) -> dict[str, object]:
    return _event("disconnect", departure.facts, departure.at) | {
        "code": departure.code,
        "reason": departure.reason,
        "duration_seconds": round(max(0.0, departure.at - departure.facts.connected_at), 3),
    }


def _keys(project: str, *incarnations: str) -> list[str]:
    return [
        names.open_connections(project),
        names.connection_counts(project),
        names.connection_history(project),
        *(names.incarnation_counts(project, one) for one in incarnations),
    ]
