"""The door to Redis for who is there: presence, open connections, their history, the lives of nodes.

Gateways call it; each change is one script in one slot, so that counting, announcing and recording can
not come apart. A node's LIFE is its id in Redis until it was away for too long; then it takes a new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from redis import asyncio as redis

from realtime import keys
from realtime.broker import new_epoch, redis_errors_as_unavailable
from realtime.config import Limits, Settings
from realtime.publications import Position
from realtime.scripts import Script

RUBBISH_SECONDS = 24 * 3600  # presence of a topic that nobody changed for so long is left over
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
    """A connection that wants in, on a node's life; it may be in already, on one of the lives before."""

    project: str
    life: str
    lives_before: tuple[str, ...]
    facts: Open
    limits: Limits


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

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._client = client
        self._max_entries = settings.connection_history_entries
        self._max_age_ms = int(settings.connection_history_seconds * 1000)
        self._presence = Script(client, "reign_v1", "presence_v1")
        self._members = Script(client, "reign_v1", "members_v1")
        self._life = Script(client, "reign_v1", "life_v1")
        self._connect = Script(client, "connect_v1")
        self._disconnect = Script(client, "disconnect_v1")

    async def change_presence(self, changes: dict[tuple[str, str], list[Change]]) -> None:
        """Carry out and announce changes, by project and topic; without any, what is there is kept longer."""
        calls = []
        for (project, topic), of_topic in changes.items():
            arguments: list[Any] = [new_epoch(), RUBBISH_SECONDS * 1000]
            for change in of_topic:
                arguments += ["remove" if change.entry is None else "set", change.field, change.entry or b""]
            calls.append((_presence_keys(project, topic), arguments))
        async with redis_errors_as_unavailable():
            await self._presence.call_many(calls)

    async def members(self, project: str, topic: str) -> tuple[Position, dict[bytes, bytes]]:
        """Return who is present under a topic, field → entry, and the position at which that is so."""
        members, meta, _ = _presence_keys(project, topic)
        async with redis_errors_as_unavailable():
            epoch, offset, flat = await self._members.call(
                [members, meta], [new_epoch(), RUBBISH_SECONDS * 1000]
            )
            return Position(epoch.decode(), offset), dict(zip(flat[::2], flat[1::2], strict=True))

    async def connect(self, arrivals: Sequence[Arrival]) -> list[str | None]:
        """Let connections in; return for each the name of the limit that forbids it, or None."""
        calls = [
            (
                _connection_keys(arrival.project),
                [
                    f"{arrival.life}/{arrival.facts.connection_id}",
                    msgspec.json.encode(arrival.facts),
                    arrival.facts.user_id or "",
                    arrival.facts.ip,
                    arrival.limits.max_connections,
                    arrival.limits.max_connections_per_user,
                    arrival.limits.max_connections_per_ip,
                    msgspec.json.encode(_event("connect", arrival.facts, arrival.facts.connected_at)),
                    self._max_entries,
                    self._max_age_ms,
                    *(f"{life}/{arrival.facts.connection_id}" for life in arrival.lives_before),
                ],
            )
            for arrival in arrivals
        ]
        async with redis_errors_as_unavailable():
            answers = await self._connect.call_many(calls)
            return [None if answer is None else str(answer.decode()) for answer in answers]

    async def disconnect(self, departures: Sequence[Departure]) -> None:
        """Take connections out and record how they ended; those that another node took out are left."""
        calls = [
            (
                _connection_keys(departure.project),
                [
                    f"{departure.life}/{departure.facts.connection_id}",
                    departure.facts.user_id or "",
                    departure.facts.ip,
                    msgspec.json.encode(_end(departure)),
                    self._max_entries,
                    self._max_age_ms,
                    *(f"{life}/{departure.facts.connection_id}" for life in departure.lives_before),
                ],
            )
            for departure in departures
        ]
        async with redis_errors_as_unavailable():
            await self._disconnect.call_many(calls)

    async def open_of(self, project: str, life: str) -> list[Open]:
        """Return the open connections that a node's life has put there."""
        found = []
        async with redis_errors_as_unavailable():
            async for _, value in self._client.hscan_iter(
                keys.open_connections(project), match=f"{life}/*", count=PAGE
            ):
                found.append(msgspec.json.decode(value, type=Open))
        return found

    async def history(self, project: str, before: str | None) -> list[tuple[str, dict[str, Any]]]:
        """Return a page of the connection history, newest first, older than `before`: id and event."""
        async with redis_errors_as_unavailable():
            seconds, _ = await self._client.time()
            oldest = int(seconds) * 1000 - self._max_age_ms
            entries: Any = await self._client.xrevrange(
                keys.connection_history(project),
                max=f"({before}" if before else "+",
                min=str(max(0, oldest)),
                count=PAGE,
            )
            return [(entry_id.decode(), msgspec.json.decode(fields[b"e"])) for entry_id, fields in entries]

    async def begin_life(self, life: str, report: Any, ttl_seconds: float) -> str:
        """Make a new life of a node known; return the reign of Redis under which it begins."""
        arguments = [msgspec.json.encode(report), int(ttl_seconds * 1000), "begin"]
        async with redis_errors_as_unavailable():
            # In this order: a life that is known without a key is a dead one.
            reign: bytes = await self._life.call([keys.node(life)], arguments)
            await self._client.sadd(keys.nodes(), life)
            return reign.decode()

    async def renew_life(self, life: str, report: Any, ttl_seconds: float, reign: str) -> bool:
        """Keep a life that began under this reign.

        False if it has run out, so that others may clean up after it, or if the reign is another one, so
        that nobody knows which of its people Redis has lost.
        """
        arguments = [msgspec.json.encode(report), int(ttl_seconds * 1000), "renew", reign]
        async with redis_errors_as_unavailable():
            return await self._life.call([keys.node(life)], arguments) is not None

    async def claim(self, life: str, seconds: float) -> bool:
        """Become the one who cleans up after a dead life, for so long."""
        async with redis_errors_as_unavailable():
            return bool(await self._client.set(keys.node_heir(life), b"", px=int(seconds * 1000), nx=True))

    async def lives(self) -> dict[str, Any | None]:
        """Return every life that was not cleaned up after, with its report; None for a dead one."""
        async with redis_errors_as_unavailable():
            known: Any = await self._client.smembers(keys.nodes())
            lives = sorted(life.decode() for life in known)
            reports = [await self._client.get(keys.node(life)) for life in lives]
        return {
            life: None if raw is None else msgspec.json.decode(raw)
            for life, raw in zip(lives, reports, strict=True)
        }

    async def note_topics(self, life: str, topics: Sequence[tuple[str, str]]) -> None:
        """Note where a life is about to put presence entries, so that others can find them."""
        async with redis_errors_as_unavailable():
            await self._client.sadd(
                keys.node_topics(life), *(f"{project} {topic}" for project, topic in topics)
            )

    async def forget_topics(self, life: str, topics: Sequence[tuple[str, str]]) -> None:
        """Take back what was noted, where a life has no presence entry left."""
        async with redis_errors_as_unavailable():
            await self._client.srem(
                keys.node_topics(life), *(f"{project} {topic}" for project, topic in topics)
            )

    async def topics_of(self, life: str) -> list[tuple[str, str]]:
        async with redis_errors_as_unavailable():
            noted: Any = await self._client.smembers(keys.node_topics(life))
        return [(project, topic) for project, _, topic in (one.decode().partition(" ") for one in noted)]

    async def fields_of(self, project: str, topic: str, life: str) -> list[str]:
        """Return the presence entries that a life has under a topic."""
        async with redis_errors_as_unavailable():
            return [
                field.decode()
                async for field, _ in self._client.hscan_iter(
                    keys.topic_members(project, topic), match=f"{life}/*", count=PAGE
                )
            ]

    async def bury(self, life: str) -> None:
        """Forget a life after which everything has been cleaned up."""
        async with redis_errors_as_unavailable():
            await self._client.delete(keys.node(life))
            await self._client.delete(keys.node_topics(life))
            await self._client.srem(keys.nodes(), life)


def _event(kind: str, facts: Open, at: float) -> dict[str, Any]:
    return {
        "event": kind,
        "connection_id": facts.connection_id,
        "user_id": facts.user_id,
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
    return [
        keys.topic_members(project, topic),
        keys.topic_meta(project, topic),
        keys.topic_channel(project, topic),
    ]


def _connection_keys(project: str) -> list[str]:
    return [
        keys.open_connections(project),
        keys.connection_counts(project),
        keys.connection_history(project),
    ]
