"""How a client comes to hear a channel, with nothing lost between history and live.

Asked by connections; moves hub, subscriber and recovery. The order: the topic is made live, history is
read, then in one step without an await the client is told, gets what it missed, and joins the hub.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import UNSET, UnsetType

from gateway import metrics
from gateway.delivery.empty_topics import EmptyTopics
from gateway.frames import text_frame
from gateway.hub import Hub, Topic
from gateway.recovery import Recovery
from gateway.socket import Socket
from gateway.subscriber import Subscriber
from gateway.tenants import Tenant
from realtime.channels import Channel
from realtime.errors import ClientError, Unavailable
from realtime.protocol import Subscribed, encode
from realtime.publications import Position
from realtime.waiting.survival import Part

JOIN_SECONDS = 10.0  # for which a `subscribe` is held while Redis is away

_part = Part("recovery")

# From position, recovered and enabled to the answer.
Answer = Callable[[Position, bool, bool | UnsetType | None], Subscribed]


class Subscriptions:
    """All that a node's clients listen to."""

    def __init__(
        self, hub: Hub[Socket], subscriber: Subscriber, recovery: Recovery, empty_topics: EmptyTopics
    ) -> None:
        self._hub = hub
        self._subscriber = subscriber
        self._recovery = recovery
        self._empty_topics = empty_topics
        subscriber.on_closed = empty_topics.closed

    async def join(
        self, socket: Socket, tenant: Tenant, channel: Channel, since: Position | None, answer: Answer
    ) -> None:
        """Answer a `subscribe` and let its messages follow.

        Raises Unavailable after JOIN_SECONDS, and ClientError `rate_limited` for a new name too many.
        """
        key = (tenant.project_id, channel.topic)
        if not self._subscriber.is_open(key):
            self._empty_topics.opened(key, socket.connection_id, tenant.limits)
        if since is not None:
            self._hub.remove(key, channel, socket)
        try:
            async with asyncio.timeout(JOIN_SECONDS), self._subscriber.live_topic(key) as topic:
                enabled = UNSET if channel.table is None else await tenant.is_enabled(channel.table)
                if enabled is True and not topic.position.offset:
                    seconds = tenant.history_of(channel).max_seconds
                    await self._empty_topics.keep_of_enabled_table(key, seconds)
                missed = None
                if since is not None and topic.roster is None:
                    missed = await self._missed(tenant, channel, topic, since, socket)
                    metrics.recoveries.labels("lost" if missed is None else "recovered").inc()
                recovered = since if missed is not None else None
                position = recovered or topic.position
                metrics.messages_sent.inc()
                socket.send([text_frame(encode(answer(position, recovered is not None, enabled)))])
                if missed:
                    socket.send(missed)
                if topic.roster is not None:
                    self._subscriber.tell_presence(key)
                    sync = topic.roster.sync()
                    metrics.messages_sent.inc(len(sync))
                    socket.send(sync)
                self._hub.add(key, channel, socket)
        except TimeoutError as error:
            raise Unavailable("Redis cannot be reached now") from error

    async def _missed(
        self, tenant: Tenant, channel: Channel, topic: Topic[Socket], since: Position, socket: Socket
    ) -> list[bytes] | None:
        """Return what a client missed; a history that nobody can read is one that does not reach."""
        try:
            return await self._recovery.missed(tenant, channel, topic, since, socket.connection_id)
        except ClientError:
            raise
        except Exception as error:
            _part.note(error, channel.topic)
            topic.forget()
            return None

    def leave(self, socket: Socket, tenant: Tenant, channel: Channel) -> None:
        """Let a client hear a channel no more, at once."""
        key = (tenant.project_id, channel.topic)
        self._hub.remove(key, channel, socket)
        self._subscriber.close_soon_if_idle(key)
