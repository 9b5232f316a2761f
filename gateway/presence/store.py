"""The door to Redis for who is there: presence, open connections, their history, the lives of nodes.

Gateways call it; each change is one script in one slot, so that counting, announcing and recording can
not come apart. A node's LIFE is its id in Redis until it was away for too long; then it takes a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from realtime import names
from realtime.publications import Position, reign_in
from realtime.redis.broker import new_epoch
from realtime.redis.client import Command, Store
from realtime.redis.scripts import Call, Script
from realtime.settings.config import Limits, Settings

RUBBISH_SECONDS = 24 * 3600  # presence of a topic that nobody changed for so long is left over
EMPTIED_SECONDS = 10  # for which a topic is remembered that all have left: clients make names as they like
LIFE_COUNTS_SECONDS = 7 * 24 * 3600  # an old node may clean up after a life, and does not know of its counts
KEPT_OF_A_USER = 256  # characters; as many as of a browser's name
PAGE = 500  # history entries that one read brings


@dataclass(frozen=True, slots=True)
class Change:
    """One presence entry to be set, or removed where `entry` is None; `field` is LIFE/CONNECTION."""

    field: str
    entry: bytes | None


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
    """A connection that wants in, on a node's life; it may be in already, on one of the lives before.

    `suspects` are lives of other nodes that are not known to be alive: their connections take no places.
    """

    project: str
    life: str
    lives_before: tuple[str, ...]
    facts: Open
    limits: Limits
    is_in: bool = False  # it was let in before, and is counted whatever the limits
    suspects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Departure:
    """A connection that has ended: with which close code, why, and when (seconds since 1970).

    It may be in still on one of the lives before.
    """

    project: str
    life: str
    lives_before: tuple[str, ...]
    facts: Open
    code: int
    reason: str | None
    at: float


class People:
    """Who is there, over all nodes."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._max_entries = settings.connection_history_entries
        self._max_age_ms = int(settings.connection_history_seconds * 1000)
        self._presence = Script(store, "reign_v1", "presence_v2")
        self._members = Script(store, "reign_v1", "members_v2", writes=False)
        self._connect = Script(store, "connect_v2")
        self._disconnect = Script(store, "disconnect_v2")

    async def change_presence(self, changes: dict[tuple[str, str], list[Change]]) -> None:
        """Carry out and announce changes, by project and topic; without any, what is there is kept longer."""
        calls = []
        for (project, topic), of_topic in changes.items():
            channel = names.topic_channel(project, topic)
            arguments: list[Any] = [channel, new_epoch(), RUBBISH_SECONDS * 1000, EMPTIED_SECONDS * 1000]
            for change in of_topic:
                arguments += ["remove" if change.entry is None else "set", change.field, change.entry or b""]
            calls.append((_presence_keys(project, topic), arguments))
        await self._presence.call_many(calls)

    async def members(self, project: str, topic: str) -> tuple[Position, dict[bytes, bytes]]:
        """Return who is present under a topic, field → entry, and the position at which that is so."""
        epoch, offset, flat = await self._members.call(_presence_keys(project, topic), [new_epoch()])
        return Position(epoch.decode(), offset), dict(zip(flat[::2], flat[1::2], strict=True))

    async def connect(self, arrivals: Sequence[Arrival]) -> list[str | None]:
        """Let connections in; return for each the name of the limit that forbids it, or None."""
        answers = await self._connect.call_many([self._connect_call(one) for one in arrivals])
        return [None if answer is None else str(answer.decode()) for answer in answers]

    def _connect_call(self, arrival: Arrival) -> Call:
        facts, limits, before = arrival.facts, arrival.limits, arrival.lives_before
        return _connection_keys(arrival.project, arrival.life, *before, *arrival.suspects), [
            _field(arrival.life, facts),
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
            LIFE_COUNTS_SECONDS * 1000,
            *(_field(life, facts) for life in before),
        ]

    async def disconnect(self, departures: Sequence[Departure]) -> None:
        """Take connections out and record how they ended; those that another node took out are left."""
        await self._disconnect.call_many([self._disconnect_call(one) for one in departures])

    def _disconnect_call(self, departure: Departure) -> Call:
        facts, lives = departure.facts, (departure.life, *departure.lives_before)
        return _connection_keys(departure.project, *lives), [
            facts.user_id or "",
            facts.ip,
            msgspec.json.encode(_end(departure)),
            self._max_entries,
            self._max_age_ms,
            *(_field(life, facts) for life in lives),
        ]

    async def open_of(self, project: str, life: str) -> list[Open]:
        """Return the open connections that a node's life has put there."""
        scan = self._store.scan_hash(names.open_connections(project), f"{life}/*")
        return [_open(field, value) async for field, value in scan]

    async def history(self, project: str, before: str | None) -> list[tuple[str, dict[str, Any]]]:
        """Return a page of the connection history, newest first, older than `before`: id and event."""
        key = names.connection_history(project)
        ((seconds, _),) = await self._store.call_many([Command(key, ("TIME",))])
        oldest = max(0, int(seconds) * 1000 - self._max_age_ms)
        newest = f"({before}" if before else "+"
        entries = await self._store.call("XREVRANGE", key, newest, oldest, "COUNT", PAGE)
        return [(entry_id.decode(), _readable(fields.get(b"e", b""))) for entry_id, fields in entries]

    async def begin_life(self, life: str, report: Any, ttl_seconds: float) -> frozenset[str]:
        """Make a new life of a node known; return the reigns under which it begins, one for each server."""
        reigns = await self._reigns()
        # In this order: a life that is known without a key is a dead one.
        await self._store.call("SET", *_life(life, report, ttl_seconds))
        await self._store.call("SADD", names.nodes(), life)
        return reigns

    async def renew_life(self, life: str, report: Any, ttl_seconds: float, reigns: frozenset[str]) -> bool:
        """Keep a life that began under these reigns.

        False if it has run out, so that others may clean up after it, or if a server has another reign, so
        that nobody knows which of its people Redis has lost: then it is left to run out.
        """
        if not await self._reigns() <= reigns:
            return False
        return bool(await self._store.call("SET", *_life(life, report, ttl_seconds), "XX"))

    async def _reigns(self) -> frozenset[str]:
        """Return the reigns of the servers that answer; see `reign_v1.lua`."""
        answers = await self._store.everywhere("INFO", "replication")
        return frozenset(reign_in(answer) for answer in answers.values())

    async def claim(self, life: str, seconds: float) -> bool:
        """Become the one who cleans up after a dead life, for so long."""
        return bool(
            await self._store.call("SET", names.node_heir(life), b"", "PX", int(seconds * 1000), "NX")
        )

    async def lives(self) -> dict[str, Any | None]:
        """Return every life that was not cleaned up after, with its report; None for a dead one."""
        lives = sorted(_texts(await self._store.call("SMEMBERS", names.nodes())))
        node_keys = map(names.node, lives)
        reports = await self._store.call_many([Command(name, ("GET", name)) for name in node_keys])
        return {
            life: None if raw is None else _readable(raw) for life, raw in zip(lives, reports, strict=True)
        }

    async def note_topics(self, life: str, topics: Sequence[tuple[str, str]]) -> None:
        """Note where a life is about to put presence entries, so that others can find them."""
        noted = [f"{project} {topic}" for project, topic in topics]
        await self._store.call("SADD", names.node_topics(life), *noted)

    async def forget_topics(self, life: str, topics: Sequence[tuple[str, str]]) -> None:
        """Take back what was noted, where a life has no presence entry left."""
        noted = [f"{project} {topic}" for project, topic in topics]
        await self._store.call("SREM", names.node_topics(life), *noted)

    async def topics_of(self, life: str) -> list[tuple[str, str]]:
        noted = _texts(await self._store.call("SMEMBERS", names.node_topics(life)))
        return [(project, topic) for project, _, topic in (one.partition(" ") for one in noted)]

    async def fields_of(self, project: str, topic: str, life: str) -> list[str]:
        """Return the presence entries that a life has under a topic."""
        scan = self._store.scan_hash(names.topic_members(project, topic), f"{life}/*")
        return list(_texts([field async for field, _ in scan]))

    async def bury(self, life: str) -> None:
        """Forget a life after which everything has been cleaned up."""
        await self._store.call("DEL", names.node(life))
        await self._store.call("DEL", names.node_topics(life))
        await self._store.call("SREM", names.nodes(), life)


def _texts(items: Iterable[bytes]) -> Iterable[str]:
    """Leave out what no node writes, and nobody can ask for by its name."""
    for name in items:
        with suppress(UnicodeDecodeError):
            yield name.decode()


def _readable(raw: bytes) -> dict[str, Any]:
    """Read a JSON object; what is none has no facts. One entry must not hide the others of its project."""
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (ValueError, RecursionError):
        return {}


def _open(field: bytes, raw: bytes) -> Open:
    """Read an open connection. Of one that cannot be read the id is known, so that it can be taken out."""
    try:
        return msgspec.json.decode(raw, type=Open)
    except (ValueError, RecursionError):
        connection_id = field.rpartition(b"/")[2].decode(errors="replace")
        return Open(
            connection_id=connection_id, user_id=None, ip="", user_agent=None, node="", connected_at=0.0
        )


def _life(life: str, report: Any, ttl_seconds: float) -> list[Any]:
    return [names.node(life), msgspec.json.encode(report), "PX", int(ttl_seconds * 1000)]


def kept_user(user_id: str | None) -> str | None:
    """What the connection history keeps of a user's id: a token may have one of 6 KB."""
    return user_id and user_id[:KEPT_OF_A_USER]


def _event(kind: str, facts: Open, at: float) -> dict[str, Any]:
    return {
        "event": kind,
        "connection_id": facts.connection_id,
        "user_id": kept_user(facts.user_id),
        "ip": facts.ip,
        "user_agent": facts.user_agent,
        "node": facts.node,
        "at": at,
    }


def _end(departure: Departure) -> dict[str, Any]:
    return _event("disconnect", departure.facts, departure.at) | {
        "code": departure.code,
        "reason": departure.reason,
        "duration_seconds": round(max(0.0, departure.at - departure.facts.connected_at), 3),
    }


def _presence_keys(project: str, topic: str) -> list[str]:
    return [names.topic_members(project, topic), names.topic_meta(project, topic)]


def _connection_keys(project: str, *lives: str) -> list[str]:
    return [
        names.open_connections(project),
        names.connection_counts(project),
        names.connection_history(project),
        *(names.life_counts(project, life) for life in lives),
    ]


def _field(life: str, facts: Open) -> str:
    return f"{life}/{facts.connection_id}"
