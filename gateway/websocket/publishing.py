"""Publishes one client's broadcasts and presence to Redis, and answers the client.

A connection passes in effects of its session, and carries out the effects that follow from the outcome.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial

from gateway.presence.writer import PresenceWriter
from gateway.projects.project import Tenant
from gateway.publish.publisher import BroadcastPublisher
from gateway.session.effects import Effect, Publish, SetPresence
from gateway.session.presence import Presence
from gateway.session.session import Session
from realtime.errors import ClientError
from realtime.waiting.survival import Part

CarryOut = Callable[[Iterable[Effect]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RedisWriters:
    """The parts that write to Redis for all clients of a node."""

    publisher: BroadcastPublisher
    presence: PresenceWriter


class ClientPublishing:
    """The broadcasts and the presence of one client."""

    __slots__ = ("_part", "_presence", "_publisher", "_session", "_tenant")

    def __init__(self, tenant: Tenant, session: Session, writers: RedisWriters, part: Part) -> None:
        self._tenant = tenant
        self._session = session
        self._publisher = writers.publisher
        self._presence = writers.presence
        self._part = part  # counts and logs unforeseen faults

    async def publish(self, publish: Publish, carry_out: CarryOut) -> None:
        try:
            with self._part.raises_internal(publish.channel.name):
                await self._publisher.publish(self._tenant, (publish.channel, publish.line))
        except ClientError as error:
            await carry_out(self._session.write_failed(publish, error))
        else:
            await carry_out(self._session.write_acknowledged(publish.ref))

    async def set_presence(self, change: SetPresence, carry_out: CarryOut) -> None:
        session = self._session
        written: asyncio.Future[None] | None = None
        try:
            with self._part.raises_internal(change.presence.topic):
                written = self._presence.set(self._tenant, change.presence)
                await asyncio.shield(written)  # the write goes on even if this connection ends
        except ClientError as error:
            await carry_out(session.write_failed(change, error))
            if written is not None and session.presences.mark_unconfirmed(change.presence):
                self._restore(change.presence)
        else:
            await carry_out(session.write_acknowledged(change.ref))

    def _restore(self, presence: Presence) -> None:
        """Write the client's present entry to Redis, whatever entry Redis has now."""
        presences = self._session.presences
        entry = partial(presences.entry, presence.topic)
        self._presence.restore(presence, entry, partial(presences.confirm, presence))

    def end_presence(self) -> None:
        for presence in self._session.end():
            with self._part.survives(presence.topic):
                self._presence.end(self._tenant, presence)
