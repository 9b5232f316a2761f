"""How a client comes to hear a channel, with nothing lost between history and live.

Asked by connections; moves hub, subscriber and broker. The order: the topic is made live, history is
read, then in one step without an await the client is told, gets what it missed, and joins the hub.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import UNSET, UnsetType

from gateway.frames import message_pieces, text_frame
from gateway.hub import Hub, Topic, TopicKey
from gateway.socket import Socket
from gateway.subscriber import Subscriber
from gateway.tenants import Tenant
from realtime.broker import Broker
from realtime.channels import Channel
from realtime.errors import Unavailable
from realtime.protocol import Subscribed, encode
from realtime.publications import Position, Publication

JOIN_SECONDS = 10.0  # for which a `subscribe` is held while Redis is away

CATCH_UP_POLL_SECONDS = 0.005

# From position, recovered and enabled to the answer.
Answer = Callable[[Position, bool, bool | UnsetType | None], Subscribed]


class Subscriptions:
    """All that a node's clients listen to."""

    def __init__(self, hub: Hub[Socket], subscriber: Subscriber, broker: Broker) -> None:
        self._hub = hub
        self._subscriber = subscriber
        self._broker = broker

    async def join(
        self, socket: Socket, tenant: Tenant, channel: Channel, since: Position | None, answer: Answer
    ) -> None:
        """Answer a `subscribe` and let its messages follow; raises Unavailable after JOIN_SECONDS."""
        key = (tenant.project_id, channel.topic)
        if since is not None:
            self._hub.remove(key, channel, socket)
        try:
            async with asyncio.timeout(JOIN_SECONDS), self._subscriber.live_topic(key) as topic:
                enabled = UNSET if channel.table is None else await tenant.is_enabled(channel.table)
                missed = None
                if since is not None and topic.roster is None:
                    missed = await self._missed(key, topic, since)
                recovered = since if missed is not None else None
                position = recovered or topic.position
                socket.send([text_frame(encode(answer(position, recovered is not None, enabled)))])
                for publication in missed or ():
                    socket.send(message_pieces(channel, publication))
                if topic.roster is not None:
                    self._subscriber.tell_presence(key)
                    socket.send(topic.roster.sync())
                self._hub.add(key, channel, socket)
        except TimeoutError as error:
            raise Unavailable("Redis cannot be reached now") from error

    async def _missed(self, key: TopicKey, topic: Topic[Socket], since: Position) -> list[Publication] | None:
        """Return all that was published after `since` until now; None if history does not reach."""
        await self._wait_for(key, topic, since)
        with topic.tapped() as tap:
            until = topic.position
            missed = await self._broker.missed(*key, since=since, until=until)
            if missed is None or not _joins_up(until, tap, topic.position):
                return None
            return missed + tap

    async def _wait_for(self, key: TopicKey, topic: Topic[Socket], since: Position) -> None:
        """Wait until this node has seen what another one showed the client before, if Redis has it."""
        if since.epoch != topic.position.epoch or since.offset <= topic.position.offset:
            return
        position = await self._broker.position(*key)
        if position.epoch != since.epoch or position.offset < since.offset:
            return
        while since.epoch == topic.position.epoch and since.offset > topic.position.offset:
            await asyncio.sleep(CATCH_UP_POLL_SECONDS)

    def leave(self, socket: Socket, tenant: Tenant, channel: Channel) -> None:
        """Let a client hear a channel no more, at once."""
        key = (tenant.project_id, channel.topic)
        self._hub.remove(key, channel, socket)
        self._subscriber.close_soon_if_idle(key)


def _joins_up(start: Position, publications: list[Publication], end: Position) -> bool:
    """Whether the publications lead from start to end without a hole."""
    for publication in publications:
        if publication.epoch != start.epoch or publication.first != start.offset + 1:
            return False
        start = Position(publication.epoch, publication.last)
    return start == end
