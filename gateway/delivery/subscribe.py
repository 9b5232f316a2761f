"""Subscribes a client to a channel, without a loss between history and live messages.

Connections call it; it uses the hub, topic subscriptions and recovery. The order: the topic becomes live,
history is found, the client gets its answer, then the missed messages in slices. The client gets the last
slice and is added to the hub in one step, without an await.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from gateway import metrics
from gateway.delivery.empty_topics import EmptyTopics
from gateway.delivery.recovery import Recovery
from gateway.delivery.replay import HistoryReplay, Joining, Replay, RosterReplay
from gateway.delivery.timings import DEFAULTS, DeliveryTimings
from gateway.delivery.topic_subscriptions import TopicSubscriptions
from gateway.hub.hub import Hub
from gateway.hub.subscribers import subscription
from gateway.projects.project import Tenant
from gateway.wire.events import Joined
from gateway.wire.send_queue import SendQueue
from realtime.channels import Channel
from realtime.errors import Unavailable
from realtime.publications import Position

RETRY_SECONDS = 0.5  # after a failed read of history that was promised to a client

# Builds the answer from position, recovered and enabled.
Answer = Callable[[Position, bool, bool | None], Joined]


class Subscriptions:
    """Subscribes all clients of a node to their channels."""

    def __init__(
        self,
        hub: Hub[SendQueue],
        topics: TopicSubscriptions,
        recovery: Recovery,
        empty_topics: EmptyTopics,
        timings: DeliveryTimings = DEFAULTS,
    ) -> None:
        self._hub = hub
        self._topics = topics
        self._recovery = recovery
        self._empty_topics = empty_topics
        self._join_seconds = timings.join_seconds
        topics.on_closed = empty_topics.closed

    async def join(
        self, send_queue: SendQueue, tenant: Tenant, channel: Channel, since: Position | None, answer: Answer
    ) -> Replay | None:
        """Answer a `subscribe`, and subscribe the client or return the replay that must be carried out first.

        Raises Unavailable after `join_seconds`, and ClientError `rate_limited` after too many empty topics.
        """
        key = (tenant.project_id, channel.topic)
        if not self._topics.is_open(key):
            self._empty_topics.opened(key, send_queue.connection_id, tenant.limits)
        wanted = subscription(send_queue, channel, send_queue.connection_id, send_queue.codec)
        if since is not None:
            send_queue.left(self._hub.remove(key, wanted))
        try:
            async with asyncio.timeout(self._join_seconds), self._topics.live_topic(key) as topic:
                enabled = None if channel.table is None else await tenant.is_enabled(channel.table)
                if enabled is True and topic.is_empty:
                    seconds = tenant.history_of(channel).max_seconds
                    await self._empty_topics.keep_of_enabled_table(key, seconds)
                replay = await self._replay(Joining(wanted, tenant, topic), since)
                recovered = since if isinstance(replay, HistoryReplay) else None
                position = recovered or topic.position
                send_queue.say(answer(position, recovered is not None, enabled))
                if replay is None:
                    self._hub.add(key, wanted)
                elif send_queue.has_room and self._step(replay):
                    return None
                return replay
        except TimeoutError as error:
            raise Unavailable("Redis cannot be reached now") from error

    async def _replay(self, one: Joining, since: Position | None) -> Replay | None:
        """Return the replay that a client needs before it joins; the first slice is ready."""
        if one.topic.roster is not None:
            self._topics.send_presence(one.key)
            return RosterReplay(one, one.topic.roster)
        if since is None:
            return None
        is_recovered = await self._recovery.begin(one.tenant, one.channel, one.topic, since)
        metrics.recoveries.labels("recovered" if is_recovered else "lost").inc()
        return HistoryReplay(one, self._recovery, since) if is_recovered else None

    def _step(self, replay: Replay) -> bool:
        """Send a slice that is ready; after the last slice add the client to the hub, and return True."""
        one = replay.joining
        if one.topic.roster is not None:
            self._topics.send_presence(one.key)  # pending changes, for present subscribers
        if is_last := replay.step():
            self._hub.add(one.key, one.subscription)
        return is_last

    async def carry_out(self, replay: Replay) -> None:
        """Send the rest of a replay as its send queue drains, then add the client to the hub."""
        one, is_last = replay.joining, False
        with self._topics.kept(one.key):
            while not is_last:
                await one.send_queue.room()
                if one.send_queue.is_closed:
                    return
                try:
                    await replay.find()
                except Unavailable:
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                # Another replay of this client may have filled the send queue meanwhile.
                is_last = one.send_queue.has_room and self._step(replay)

    def leave(self, send_queue: SendQueue, tenant: Tenant, channel: Channel) -> None:
        """Unsubscribe a client from a channel at once."""
        key = (tenant.project_id, channel.topic)
        left = subscription(send_queue, channel, send_queue.connection_id, send_queue.codec)
        send_queue.left(self._hub.remove(key, left))
        self._topics.close_soon_if_idle(key)

    def messages_to(self, send_queue: SendQueue, tenant: Tenant, channels: Iterable[Channel]) -> int:
        """Return how many messages of its channels a client got live since it subscribed to each."""
        return sum(
            self._hub.messages_to(
                (tenant.project_id, channel.topic),
                subscription(send_queue, channel, send_queue.connection_id, send_queue.codec),
            )
            for channel in channels
        )
