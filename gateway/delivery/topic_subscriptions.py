"""Keeps the topics of a node live: subscribes at the server that has each topic, and catches topics up.

Messages come from the subscriptions to Redis servers, are ordered by their topic and leave as deliveries.
After every reconnect, after every hole and when a topic moves to another server, the missed messages are read
from history before anything newer is delivered.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import assert_never

from gateway import metrics
from gateway.broker import Broker
from gateway.delivery.catching_up import CatchingUp
from gateway.delivery.inbox import Inbox
from gateway.delivery.open_topic import OpenTopic, TopicChange
from gateway.delivery.redis_subscription import RedisSubscription, SubscriptionOptions
from gateway.delivery.stages import Outlet, TopicQueue
from gateway.hub.hub import Hub, deliver, presence_deliveries
from gateway.hub.topic import Step, Topic, TopicState
from gateway.presence.presence_store import PresenceStore
from gateway.wire.send_queue import SendQueue
from realtime import names
from realtime.channels import TopicKey
from realtime.errors import Unavailable
from realtime.publications import read_publication
from realtime.redis.cluster import Server
from realtime.waiting.survival import Part

GATHER_SECONDS = 0.1  # in which presence changes are gathered
ARRANGE_SECONDS = 0.05  # in which changes of the server list are gathered

_part = Part("subscriber")


class TopicSubscriptions:
    """Keeps the hub's topics subscribed and live, each by the subscription to the server that has it."""

    def __init__(
        self,
        broker: Broker,
        presence: PresenceStore,
        hub: Hub[SendQueue],
        outlet: Outlet,
        options: SubscriptionOptions,
    ) -> None:
        self._broker = broker
        self._hub = hub
        self._outlet = outlet
        self._options = options
        self._servers = broker.store.servers
        self._catching_up = CatchingUp(broker, presence, self._move, options.timings)
        self._subscriptions: dict[Server, RedisSubscription] = {}
        self._runs: dict[Server, asyncio.Task[None]] = {}  # the task of each subscription
        self._open: dict[bytes, OpenTopic] = {}  # by Redis channel
        self.inbox = Inbox(options.node_id)
        self.on_closed: Callable[[TopicKey, Topic[SendQueue]], None] = lambda key, topic: None

    def __repr__(self) -> str:
        return f"<TopicSubscriptions to {len(self._open)} topics of {len(self._subscriptions)} servers>"

    def why_not_ready(self) -> str | None:
        """Return why messages are not delivered; None while they are."""
        if dead := [each.reason for each in self._subscriptions.values() if not each.is_live]:
            return f"messages from Redis do not arrive: {'; '.join(dead)}"
        if self._subscriptions:
            return None
        return ": ".join(filter(None, ("no server of Redis is known", self._servers.why_unknown)))

    def is_open(self, key: TopicKey) -> bool:
        """Whether this node subscribes to a topic, or is about to do so."""
        return _channel_of(key) in self._open

    def hears(self, key: TopicKey) -> bool:
        """Whether messages of a topic would arrive now: the subscription to its server is live."""
        server = self._subscription_to(_channel_of(key))
        return server is not None and server.is_live

    @asynccontextmanager
    async def live_topic(self, key: TopicKey) -> AsyncIterator[Topic[SendQueue]]:
        """Open a topic, wait until its messages are known to arrive, and keep it open meanwhile."""
        with self.kept(key) as topic:
            one = self._open.get(_channel_of(key)) or self._subscribe(key, topic)
            await one.live.wait()
            yield topic

    @contextmanager
    def kept(self, key: TopicKey) -> Iterator[Topic[SendQueue]]:
        """Keep a topic open for a client that is not subscribed yet."""
        topic = self._hub.open(key)
        topic.joiners += 1
        try:
            yield topic
        finally:
            topic.joiners -= 1
            self.close_soon_if_idle(key)

    def _subscribe(self, key: TopicKey, topic: Topic[SendQueue]) -> OpenTopic:
        one = OpenTopic(key, _channel_of(key), topic)
        # Without a bound method for each topic.
        take, fail = partial(type(self)._deliver, self, one), partial(type(self)._break, self, one)
        one.queue = TopicQueue(key, topic, self._outlet.stages, take, fail)
        self._open[one.channel] = one
        one.server = self._subscription_to(one.channel)
        if one.server is not None:
            one.server.subscribe(one.channel)
        return one

    def close_soon_if_idle(self, key: TopicKey) -> None:
        topic = self._hub.topics.get(key)
        if topic is not None and topic.is_idle:
            grace_seconds = self._options.timings.grace_seconds
            asyncio.get_running_loop().call_later(grace_seconds, self._close_if_idle, key)

    def _close_if_idle(self, key: TopicKey) -> None:
        if not self._hub.close(key):
            return
        one = self._open.pop(_channel_of(key))
        one.round = None
        one.queue.close()
        if one.server is not None:
            one.server.unsubscribe(one.channel)
        self.on_closed(key, one.topic)

    async def run(self) -> None:
        """Stay subscribed until cancelled."""
        self._subscriptions, self._runs = {}, {}  # those of a failed run have ended
        async with asyncio.TaskGroup() as tasks:
            while True:
                with _part.survives():
                    self._arrange(tasks)
                await self._servers.changed()
                await asyncio.sleep(ARRANGE_SECONDS)

    def _arrange(self, tasks: asyncio.TaskGroup) -> None:
        """Subscribe to every known server, and move every topic to the right server."""
        for server in self._subscriptions.keys() - set(self._servers.all):
            del self._subscriptions[server]
            self._runs.pop(server).cancel()
        for server in self._servers.all:
            if server not in self._subscriptions:
                new = self._subscriptions[server] = RedisSubscription(
                    server, self._broker, self._options, self
                )
                self._runs[server] = tasks.create_task(new.run(), name=f"listen to {server}")
        with _part.survives("inbox"):
            self.inbox.move(self._subscription_to(self.inbox.channel))
        for one in self._open.values():
            with _part.survives(str(one.key)):
                self._put_on_its_server(one)

    def _put_on_its_server(self, one: OpenTopic) -> None:
        before, server = one.server, self._subscription_to(one.channel)
        if server is before:
            return
        one.server = server
        if before is not None:
            self._move(one, TopicChange.LOST)
            before.unsubscribe(one.channel)
        if server is not None:
            server.subscribe(one.channel)

    def _subscription_to(self, channel: bytes) -> RedisSubscription | None:
        """Return the subscription to the server that has a channel, if the server is known."""
        try:
            return self._subscriptions.get(self._servers.of(channel))
        except Unavailable:
            return None

    # Called by the subscriptions to servers

    def lost(self, server: RedisSubscription, channels: Collection[bytes]) -> None:
        for one in self._on(server, channels):
            self._move(one, TopicChange.LOST)

    def refused(self, server: RedisSubscription, channels: Collection[bytes]) -> None:
        for one in list(self._on(server, channels)):
            self._move(one, TopicChange.LOST)
            server.unsubscribe(one.channel)
            one.server = None  # so that `_arrange` subscribes the topic again, at whichever server has it
        if self.inbox.channel in channels and self.inbox.server is server:
            self.inbox.move(None)  # likewise
        self._servers.wake_waiters()

    def received(self, server: RedisSubscription, channel: bytes, data: bytes) -> None:
        one = self._open.get(channel)
        if one is None or one.server is not server:
            with _part.survives("inbox"):
                self.inbox.received(server, channel, data)
            return
        metrics.publications_received.inc()
        try:
            one.queue.put(one.topic.received(read_publication(data)))
            if one.topic.state is TopicState.BEHIND and one.live.is_set():
                self._move(one, TopicChange.GAP)
        except Exception as error:
            self._break(one, error)

    def confirmed(self, server: RedisSubscription, channel: bytes) -> None:
        for one in self._on(server, [channel]):
            with _part.survives(str(one.key)):
                self._move(one, TopicChange.CONFIRMED)

    def _on(self, server: RedisSubscription, channels: Iterable[bytes]) -> Iterator[OpenTopic]:
        """Yield the topics of these channels that are on this server now."""
        for channel in channels:
            one = self._open.get(channel)
            if one is not None and one.server is server:
                yield one

    def read_rosters_again(self) -> None:
        """Read all rosters again: Redis may have lost entries, for which nobody publishes a leave."""
        for one in self._open.values():
            if one.topic.roster is not None and one.topic.is_live:
                self._move(one, TopicChange.DOUBTED)

    # Changes of a topic

    def _move(self, one: OpenTopic, change: TopicChange) -> None:
        """Apply a change to a topic's record, and start catching up; no other function does."""
        match change:
            case TopicChange.LOST | TopicChange.DOUBTED:
                one.topic.lose()
            case TopicChange.CONFIRMED if one.topic.is_live:
                one.topic.lose()  # messages before this confirmation may be missing
            case TopicChange.CONFIRMED:
                pass  # what is held arrived over this connection
            case TopicChange.GAP:
                metrics.gaps.inc()
            case TopicChange.BROKEN | TopicChange.FAILED:
                one.is_broken = True
                one.queue.give_up()
            case TopicChange.CAUGHT_UP:
                one.is_broken, one.round = False, None
                one.live.set()
                return
            case _:
                assert_never(change)
        one.live.clear()
        if change is not TopicChange.FAILED:  # after FAILED the round goes on
            one.round = None
            if change is not TopicChange.LOST and one.server is not None:
                self._catch_up(one, one.server)

    def _catch_up(self, one: OpenTopic, server: RedisSubscription) -> None:
        mine = one.round = object()
        server.run_along(self._catching_up.run(one, mine), f"catch up {one.key}")

    def _break(self, one: OpenTopic, error: Exception) -> None:
        """Send all subscribers `resync`, since a delivery failed or reached only some of them."""
        _part.note(error, str(one.key))
        if self._open.get(one.channel) is one:
            self._move(one, TopicChange.BROKEN)

    def _deliver(self, one: OpenTopic, step: Step) -> None:
        self._outlet.deliver(deliver(one.topic, step))
        if one.topic.roster is not None and one.topic.roster.has_news and not one.is_presence_due:
            one.is_presence_due = True
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self._send_presence, one)

    def send_presence(self, key: TopicKey) -> None:
        """Send the pending presence changes of a topic to its subscribers."""
        if (one := self._open.get(_channel_of(key))) is not None:
            self._send_presence(one)

    def _send_presence(self, one: OpenTopic) -> None:
        one.is_presence_due = False
        try:
            self._outlet.deliver(presence_deliveries(one.topic))
        except Exception as error:
            self._break(one, error)


def _channel_of(key: TopicKey) -> bytes:
    return names.topic_channel(*key).encode()
