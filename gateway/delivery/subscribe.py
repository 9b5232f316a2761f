"""How a client comes to hear a channel, with nothing lost between history and live.

Asked by connections; moves the hub, topic subscriptions and recovery. The order: the topic is made live,
history is found, the client is told, gets what it missed in slices, and in one step without an await the last
of them and a place in the hub.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway import metrics
from gateway.delivery.empty_topics import EmptyTopics
from gateway.delivery.recovery import Recovery
from gateway.delivery.replay import HistoryReplay, Joining, Replay, RosterReplay
from gateway.delivery.topic_subscriptions import TopicSubscriptions
from gateway.hub.hub import Hub
from gateway.hub.subscribers import subscription
from gateway.projects.project import Tenant
from gateway.wire.events import Joined
from gateway.wire.send_queue import SendQueue
from realtime.channels import Channel
from realtime.errors import Unavailable
from realtime.publications import Position

JOIN_SECONDS = 10.0  # for which a `subscribe` is held while Redis is away
RETRY_SECONDS = 0.5  # after history could not be read for a client that was told that it has it

# From position, recovered and enabled to the answer.
Answer = Callable[[Position, bool, bool | None], Joined]


class Subscriptions:
    """All that a node's clients listen to."""

    def __init__(
        self,
        hub: Hub[SendQueue],
        topics: TopicSubscriptions,
        recovery: Recovery,
        empty_topics: EmptyTopics,
    ) -> None:
        self._hub = hub
        self._topics = topics
        self._recovery = recovery
        self._empty_topics = empty_topics
        topics.on_closed = empty_topics.closed

    async def join(
        self, send_queue: SendQueue, tenant: Tenant, channel: Channel, since: Position | None, answer: Answer
    ) -> Replay | None:
        """Answer a `subscribe` and let its messages follow; what is returned has to be carried out for that.

        Raises Unavailable after JOIN_SECONDS, and ClientError `rate_limited` for a new name too many.
        """
        key = (tenant.project_id, channel.topic)
        if not self._topics.is_open(key):
            self._empty_topics.opened(key, send_queue.connection_id, tenant.limits)
        wanted = subscription(send_queue, channel, send_queue.connection_id)
        if since is not None:
            self._hub.remove(key, wanted)
        try:
            async with asyncio.timeout(JOIN_SECONDS), self._topics.live_topic(key) as topic:
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
        """What the client is to be told of the time before it joins; its first step is at hand."""
        if one.topic.roster is not None:
            self._topics.tell_presence(one.key)
            return RosterReplay(one, one.topic.roster)
        if since is None:
            return None
        is_recovered = await self._recovery.begin(one.tenant, one.channel, one.topic, since)
        metrics.recoveries.labels("recovered" if is_recovered else "lost").inc()
        return HistoryReplay(one, self._recovery, since) if is_recovered else None

    def _step(self, replay: Replay) -> bool:
        """Send a slice that is at hand; with the last one the client joins, and True is returned."""
        one = replay.joining
        if one.topic.roster is not None:
            self._topics.tell_presence(one.key)  # to those who hear it already
        if is_last := replay.step():
            self._hub.add(one.key, one.subscription)
        return is_last

    async def carry_out(self, replay: Replay) -> None:
        """Send what is left of a replay as its send queue drains, and let the client join."""
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
                # Another replay of this client may have been faster.
                is_last = one.send_queue.has_room and self._step(replay)

    def leave(self, send_queue: SendQueue, tenant: Tenant, channel: Channel) -> None:
        """Let a client hear a channel no more, at once."""
        key = (tenant.project_id, channel.topic)
        self._hub.remove(key, subscription(send_queue, channel, send_queue.connection_id))
        self._topics.close_soon_if_idle(key)
