"""How one client's broadcasts and presence get to Redis, and what it is answered.

A connection hands over what its session decided, and carries out what that decides next.
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
class Ways:
    """To Redis, for what clients say."""

    publisher: BroadcastPublisher
    presence: PresenceWriter


class ClientPublishing:
    """All that a client has Redis told."""

    def __init__(self, tenant: Tenant, session: Session, ways: Ways, part: Part) -> None:
        self._tenant = tenant
        self._session = session
        self._publisher = ways.publisher
        self._presence = ways.presence
        self._part = part  # of those that survive, whose faults these are

    async def publish(self, publish: Publish, carry_out: CarryOut) -> None:
        try:
            with self._part.tells_client(publish.channel.name):
                await self._publisher.publish(self._tenant, (publish.channel, publish.line))
        except ClientError as error:
            await carry_out(self._session.not_told(publish, error))
        else:
            await carry_out(self._session.told(publish.ref))

    async def set_presence(self, change: SetPresence, carry_out: CarryOut) -> None:
        session = self._session
        told: asyncio.Future[None] | None = None
        try:
            with self._part.tells_client(change.topic):
                entry = change.topic, session.connection_id, change.entry
                told = self._presence.set(self._tenant, *entry)
                await asyncio.shield(told)  # sent, whatever becomes of us
        except ClientError as error:
            await carry_out(session.not_told(change, error))
            if told is not None and session.doubt(change.topic):
                self._restore_presence(change.topic)
        else:
            await carry_out(session.told(change.ref))

    def _restore_presence(self, topic: str) -> None:
        """Let Redis have what the client is present with, whatever it has now."""
        session = self._session
        self._presence.restore(
            self._tenant.project_id,
            topic,
            session.connection_id,
            partial(session.present_entry, topic),
            partial(session.be_sure, topic),
        )

    def end_presence(self) -> None:
        for topic in self._session.ended():
            with self._part.survives(topic):
                self._presence.end(self._tenant, topic, self._session.connection_id)
