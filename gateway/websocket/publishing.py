"""How one client's broadcasts and presence get to Redis, and what it is answered.

A connection hands over effects of its session, and carries out the effects that follow from the outcome.
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
from gateway.session.session import Session
from realtime.errors import ClientError
from realtime.waiting.survival import Part

CarryOut = Callable[[Iterable[Effect]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RedisWriters:
    """What writes to Redis for all clients of a node."""

    publisher: BroadcastPublisher
    presence: PresenceWriter


class ClientPublishing:
    """What one client publishes."""

    def __init__(self, tenant: Tenant, session: Session, writers: RedisWriters, part: Part) -> None:
        self._tenant = tenant
        self._session = session
        self._publisher = writers.publisher
        self._presence = writers.presence
        self._part = part  # of those that survive, whose faults these are

    async def publish(self, publish: Publish, carry_out: CarryOut) -> None:
        try:
            with self._part.tells_client(publish.channel.name):
                await self._publisher.publish(self._tenant, (publish.channel, publish.line))
        except ClientError as error:
            await carry_out(self._session.refused(publish, error))
        else:
            await carry_out(self._session.acknowledged(publish.ref))

    async def set_presence(self, change: SetPresence, carry_out: CarryOut) -> None:
        session = self._session
        written: asyncio.Future[None] | None = None
        try:
            with self._part.tells_client(change.topic):
                entry = change.topic, session.connection_id, change.entry
                written = self._presence.set(self._tenant, *entry)
                await asyncio.shield(written)  # sent, whatever becomes of this connection
        except ClientError as error:
            await carry_out(session.refused(change, error))
            if written is not None and session.presences.mark_unconfirmed(change.topic):
                self._restore_presence(change.topic)
        else:
            await carry_out(session.acknowledged(change.ref))

    def _restore_presence(self, topic: str) -> None:
        """Write to Redis what the client is present with, whatever Redis has now."""
        session = self._session
        self._presence.restore(
            self._tenant.project_id,
            topic,
            session.connection_id,
            partial(session.present_entry, topic),
            partial(session.presences.confirm, topic),
        )

    def end_presence(self) -> None:
        for topic in self._session.end():
            with self._part.survives(topic):
                self._presence.end(self._tenant, topic, self._session.connection_id)
