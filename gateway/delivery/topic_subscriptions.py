"""How the topics of a node become and stay live: which server has them, and what was missed of them.

Messages come from lines to Redis, go through the hub and leave as deliveries. After every reconnect, after
every hole and when a topic moves to another server, what was missed is read from history before anything
newer is handed on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager

from gateway import metrics
from gateway.delivery.redis_subscription import RedisSubscription
from gateway.hub.hub import Delivery, Hub, Topic, TopicState
from gateway.presence.store import People
from gateway.wire.send_queue import SendQueue
from realtime import names
from realtime.causes.sentence import why
from realtime.channels import TopicKey
from realtime.errors import Unavailable
from realtime.logs.setup import get_logger
from realtime.publications import Position, read_publication
from realtime.redis.broker import Broker
from realtime.redis.cluster import Server
from realtime.waiting.survival import Part

log = get_logger(__name__)

GATHER_SECONDS = 0.1  # in which changes of presence are told together
ARRANGE_SECONDS = 0.05  # in which changes of servers are gathered
RETRY_SECONDS = 0.1  # after a topic could not be caught up; a connection of before a restart fails once
GRACE_SECONDS = 1.0  # a topic that everybody left is kept for those who come back at once
BROKEN_SECONDS = 1.0  # likewise, where that is a fault of ours
CATCHING_UP_AT_ONCE = 32

_part = Part("subscriber")


class TopicSubscriptions:
    """Keeps the hub's topics subscribed and live, each on the line to the server that has it."""

    def __init__(
        self,
        broker: Broker,
        people: People,
        hub: Hub[SendQueue],
        deliver: Callable[[list[Delivery[SendQueue]]], None],
        node_id: str,
    ) -> None:
        self._broker = broker
        self._people = people
        self._hub = hub
        self._deliver = deliver
        self._node_id = node_id
        self._servers = broker.store.servers
        self._lines: dict[Server, RedisSubscription] = {}
        self._runs: dict[RedisSubscription, asyncio.Task[None]] = {}
        self._keys: dict[bytes, TopicKey] = {}  # of every open topic, by its pub/sub channel
        self._line_of: dict[
            bytes, RedisSubscription | None
        ] = {}  # likewise; None: no server is known to have it
        self._live: dict[TopicKey, asyncio.Event] = {}  # likewise; set while the topic is live
        self._rounds: dict[TopicKey, object] = {}  # of catching up; another one makes the last one void
        self._to_tell: set[TopicKey] = set()  # presence topics that will be told of news
        self._broken: set[TopicKey] = set()  # topics that lost something here, and have to say `resync`
        self._catching_up = asyncio.Semaphore(CATCHING_UP_AT_ONCE)
        self.on_closed: Callable[[TopicKey, Topic[SendQueue]], None] = lambda key, topic: None

    def why_not_ready(self) -> str | None:
        """None while messages are being delivered."""
        if dead := [line.reason for line in self._lines.values() if not line.is_live]:
            return f"messages from Redis do not arrive: {'; '.join(dead)}"
        if self._lines:
            return None
        return ": ".join(filter(None, ("no server of Redis is known", self._servers.why_unknown)))

    def is_open(self, key: TopicKey) -> bool:
        """Whether this node subscribes to a topic, or is about to."""
        return key in self._live

    def hears(self, key: TopicKey) -> bool:
        """Whether messages of a topic would be delivered now: the server that has it is heard."""
        line = self._line_to(names.topic_channel(*key).encode())
        return line is not None and line.is_live

    @asynccontextmanager
    async def live_topic(self, key: TopicKey) -> AsyncIterator[Topic[SendQueue]]:
        """Open a topic, wait until its messages are known to arrive, and keep it meanwhile."""
        with self.kept(key) as topic:
            if key not in self._live:
                self._subscribe(key)
            await self._live[key].wait()
            yield topic

    @contextmanager
    def kept(self, key: TopicKey) -> Iterator[Topic[SendQueue]]:
        """Keep a topic open for somebody who does not hear it yet."""
        topic = self._hub.open(key)
        topic.joiners += 1
        try:
            yield topic
        finally:
            topic.joiners -= 1
            self.close_soon_if_idle(key)

    def _subscribe(self, key: TopicKey) -> None:
        channel = names.topic_channel(*key).encode()
        self._live[key] = asyncio.Event()
        self._keys[channel] = key
        line = self._line_of[channel] = self._line_to(channel)
        if line is not None:
            line.subscribe(channel)

    def close_soon_if_idle(self, key: TopicKey) -> None:
        topic = self._hub.topics.get(key)
        if topic is not None and topic.is_idle:
            asyncio.get_running_loop().call_later(GRACE_SECONDS, self._close_if_idle, key)

    def _close_if_idle(self, key: TopicKey) -> None:
        topic = self._hub.topics.get(key)
        if topic is not None and self._hub.close(key):
            channel = names.topic_channel(*key).encode()
            del self._live[key], self._keys[channel]
            self._rounds.pop(key, None)
            self._broken.discard(key)
            if (line := self._line_of.pop(channel)) is not None:
                line.unsubscribe(channel)
            self.on_closed(key, topic)

    async def run(self) -> None:
        """Stay subscribed until cancelled."""
        self._lines, self._runs = {}, {}  # those of a run that failed have ended
        async with asyncio.TaskGroup() as tasks:
            while True:
                with _part.survives():
                    self._arrange(tasks)
                await self._servers.changed()
                await asyncio.sleep(ARRANGE_SECONDS)

    def _arrange(self, tasks: asyncio.TaskGroup) -> None:
        """Have a line to every server, and every topic on the right one."""
        for server in self._lines.keys() - set(self._servers.all):
            self._runs.pop(self._lines.pop(server)).cancel()
        for server in self._servers.all:
            if server not in self._lines:
                line = self._lines[server] = RedisSubscription(server, self._broker, self._node_id, self)
                self._runs[line] = tasks.create_task(line.run(), name=f"listen to {server}")
        for channel in self._keys:
            with _part.survives(str(self._keys[channel])):
                self._put_on_its_line(channel)

    def _put_on_its_line(self, channel: bytes) -> None:
        before, line = self._line_of[channel], self._line_to(channel)
        if line is before:
            return
        self._line_of[channel] = line
        if before is not None:
            self._lose([channel])
            before.unsubscribe(channel)
        if line is not None:
            line.subscribe(channel)

    def _line_to(self, channel: bytes) -> RedisSubscription | None:
        try:
            return self._lines.get(self._servers.of(channel))
        except Unavailable:
            return None

    # What lines tell

    def lost(self, line: RedisSubscription, channels: Collection[bytes]) -> None:
        self._lose([channel for channel in channels if self._line_of.get(channel) is line])

    def refused(self, line: RedisSubscription, channels: Collection[bytes]) -> None:
        for channel in [one for one in channels if self._line_of.get(one) is line]:
            self._lose([channel])
            line.unsubscribe(channel)
            self._line_of[channel] = None  # so that it is put on a line again, whichever that is
        self._servers.tell_news()

    def _lose(self, channels: Collection[bytes]) -> None:
        lost = [self._keys[channel] for channel in channels]
        self._hub.fell_behind(lost)
        for key in lost:
            self._live[key].clear()
            self._rounds.pop(key, None)

    def received(self, line: RedisSubscription, channel: bytes, data: bytes) -> None:
        key = self._keys.get(channel)
        if key is None or self._line_of[channel] is not line:
            return
        metrics.publications_received.inc()
        try:
            self._take_in(key, data)
        except Exception as error:
            self._break(key, error)

    def _take_in(self, key: TopicKey, data: bytes) -> None:
        self._deliver(self._hub.received(key, read_publication(data)))
        topic = self._hub.topics[key]
        if topic.roster is not None and topic.roster.has_news:
            self._tell_presence_soon(key)
        if self._live[key].is_set() and self._hub.topics[key].state is TopicState.BEHIND:
            metrics.gaps.inc()
            self._start_catching_up(key)

    def confirmed(self, line: RedisSubscription, channel: bytes) -> None:
        key = self._keys.get(channel)
        if key is None or self._line_of[channel] is not line:
            return
        with _part.survives(str(key)):
            if self._hub.topics[key].is_live:
                self._hub.fell_behind([key])  # nothing is known to arrive but from here on
            self._start_catching_up(key)

    def _break(self, key: TopicKey, error: Exception) -> None:
        """What came cannot be handed on, or was handed to some alone: tell all of them `resync`."""
        _part.note(error, str(key))
        if key in self._live:
            self._broken.add(key)
            self._hub.fell_behind([key])
            self._start_catching_up(key)

    def _tell_presence_soon(self, key: TopicKey) -> None:
        """Gather what happens within a moment."""
        if key not in self._to_tell:
            self._to_tell.add(key)
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self.tell_presence, key)

    def tell_presence(self, key: TopicKey) -> None:
        """Tell a presence topic's subscribers what they were not told yet."""
        self._to_tell.discard(key)
        try:
            self._deliver(self._hub.tell_presence(key))
        except Exception as error:
            self._break(key, error)

    def _start_catching_up(self, key: TopicKey) -> None:
        self._live[key].clear()
        mine = self._rounds[key] = object()
        line = self._line_of[names.topic_channel(*key).encode()]
        if line is not None:
            line.run_along(self._catch_up(key, self._hub.topics[key], mine), f"catch up {key}")

    def read_rosters_again(self) -> None:
        """Redis may have lost who is present, and whoever leaves then is announced by nobody."""
        for key in self._hub.doubt_rosters():
            self._start_catching_up(key)

    async def _catch_up(self, key: TopicKey, topic: Topic[SendQueue], mine: object) -> None:
        """Bring a topic to where Redis is, by history, until nothing is missing.

        It ends when the topic is lost meanwhile, or closed: the next confirmation starts one of its own.
        """
        while self._rounds.get(key) is mine:
            try:
                async with self._catching_up:
                    await self._read_missed(key, topic, mine)
            except Unavailable as error:
                # Of this topic alone, perhaps: its slot may be on the move.
                log.debug("catching_up_failed", project=key[0], topic=key[1], error=why(error))
                await asyncio.sleep(RETRY_SECONDS)
            except Exception as error:
                _part.note(error, str(key))
                self._broken.add(key)  # what history has would fail again
                self._hub.fell_behind([key])  # it may be LIVE, and have told some alone
                await asyncio.sleep(BROKEN_SECONDS)
            else:
                return

    async def _read_missed(self, key: TopicKey, topic: Topic[SendQueue], mine: object) -> None:
        while self._rounds.get(key) is mine and topic.state is not TopicState.LIVE:
            if topic.roster is not None:
                at, members = await self._people.members(*key)
                if self._rounds.get(key) is mine:
                    self._deliver(self._hub.roster_read(key, at, members))
                continue
            position = await self._broker.position(*key)
            is_lost = False
            if topic.state is TopicState.BEHIND:
                is_lost = key in self._broken or not await self._read_pages(key, topic, position, mine)
            if self._rounds.get(key) is mine:
                if is_lost:
                    metrics.resyncs.inc()
                self._broken.discard(key)
                self._deliver(self._hub.caught_up(key, position, None if is_lost else []))
        if self._rounds.get(key) is mine:
            self._live[key].set()

    async def _read_pages(
        self, key: TopicKey, topic: Topic[SendQueue], until: Position, mine: object
    ) -> bool:
        """Hand on what a topic missed, a page at a time; False if history does not reach."""
        since = topic.position
        if since.epoch != until.epoch or since.offset > until.offset:
            return False
        while self._rounds.get(key) is mine and topic.position.offset < until.offset:
            page = await self._broker.page(*key, since=topic.position, until=until.offset)
            if page is None:
                return False
            if self._rounds.get(key) is mine:
                self._deliver(self._hub.missed(key, page))
        return True
