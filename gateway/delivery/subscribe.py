"""How a client comes to hear a channel, with nothing lost between history and live.

Asked by connections; moves hub, subscriber and recovery. The order: the topic is made live, history is found,
the client is told, gets what it missed in slices, and in one step without an await the last of them and a
place in the hub.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import UNSET, UnsetType

from gateway import metrics
from gateway.delivery.empty_topics import EmptyTopics
from gateway.delivery.recovery import Recovery
from gateway.delivery.replay import HistoryReplay, Replay, RosterReplay, Subscription
from gateway.delivery.topic_subscriptions import TopicSubscriptions
from gateway.hub.hub import Hub
from gateway.projects.project import Tenant
from gateway.wire.frames import text_frame
from gateway.wire.native import Subscribed, encode
from gateway.wire.send_queue import SendQueue
from realtime.channels import Channel
from realtime.errors import Unavailable
from realtime.publications import Position

JOIN_SECONDS = 10.0  # for which a `subscribe` is held while Redis is away
RETRY_SECONDS = 0.5  # after history could not be read for a client that was told that it has it

# From position, recovered and enabled to the answer.
Answer = Callable[[Position, bool, bool | UnsetType | None], Subscribed]


class Subscriptions:
    """All that a node's clients listen to."""

    def __init__(
        self,
        hub: Hub[SendQueue],
        subscriber: TopicSubscriptions,
        recovery: Recovery,
        empty_topics: EmptyTopics,
    ) -> None:
        self._hub = hub
        self._subscriber = subscriber
        self._recovery = recovery
        self._empty_topics = empty_topics
        subscriber.on_closed = empty_topics.closed

    async def join(
        self, socket: SendQueue, tenant: Tenant, channel: Channel, since: Position | None, answer: Answer
    ) -> Replay | None:
        """Answer a `subscribe` and let its messages follow; what is returned has to be carried out for that.

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
                replay = await self._replay(Subscription(socket, tenant, channel, topic), since)
                recovered = since if isinstance(replay, HistoryReplay) else None
                position = recovered or topic.position
                metrics.messages_sent.inc()
                socket.send([text_frame(encode(answer(position, recovered is not None, enabled)))])
                if replay is None:
                    self._hub.add(key, channel, socket)
                elif socket.has_room and self._step(replay):
                    return None
                return replay
        except TimeoutError as error:
            raise Unavailable("Redis cannot be reached now") from error

    async def _replay(self, one: Subscription, since: Position | None) -> Replay | None:
        """What the client is to be told of the time before it joins; its first step is at hand."""
        if one.topic.roster is not None:
            self._subscriber.tell_presence(one.key)
            return RosterReplay(one, one.topic.roster)
        if since is None:
            return None
        is_recovered = await self._recovery.begin(one.tenant, one.channel, one.topic, since)
        metrics.recoveries.labels("recovered" if is_recovered else "lost").inc()
        return HistoryReplay(one, self._recovery, since) if is_recovered else None

    def _step(self, replay: Replay) -> bool:
        """Send a slice that is at hand; with the last one the client joins, and True is returned."""
        one = replay.subscription
        if one.topic.roster is not None:
            self._subscriber.tell_presence(one.key)  # to those who hear it already
        if is_last := replay.step():
            self._hub.add(one.key, one.channel, one.socket)
        return is_last

    async def carry_out(self, replay: Replay) -> None:
        """Send what is left of a replay as the socket drains, and let the client join."""
        one, is_last = replay.subscription, False
        with self._subscriber.kept(one.key):
            while not is_last:
                await one.socket.room()
                if one.socket.is_closed:
                    return
                try:
                    await replay.find()
                except Unavailable:
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                # Another replay of this client may have been faster.
                is_last = one.socket.has_room and self._step(replay)

    def leave(self, socket: SendQueue, tenant: Tenant, channel: Channel) -> None:
        """Let a client hear a channel no more, at once."""
        key = (tenant.project_id, channel.topic)
        self._hub.remove(key, channel, socket)
        self._subscriber.close_soon_if_idle(key)
