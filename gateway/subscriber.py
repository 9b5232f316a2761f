"""The one subscription of a node to Redis, and how topics on it become and stay live.

Messages come from Redis, go through the hub and leave as deliveries. After every reconnect, and after
every hole, what was missed is read from history before anything newer is handed on.

A probe goes the way of every message: when none comes back, or it finds that another Redis reigns, the
subscription is dead however healthy its connection looks, and is made anew.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from redis.exceptions import RedisError

from gateway import metrics
from gateway.hub import Delivery, Hub, Topic, TopicKey, TopicState
from gateway.socket import Socket
from realtime import keys
from realtime.broker import Broker, redis_errors_as_unavailable
from realtime.errors import Unavailable
from realtime.people import People
from realtime.publications import read_publication

logger = logging.getLogger(__name__)

GATHER_SECONDS = 0.1  # in which changes of presence are told together
GRACE_SECONDS = 1.0  # a topic that everybody left is kept for those who come back at once
FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 2.0
PROBE_SECONDS = 2.0
DEAD_AFTER_SECONDS = 3 * PROBE_SECONDS
CATCHING_UP_AT_ONCE = 32

FAULTS = (RedisError, OSError, TimeoutError, Unavailable)


class Subscriber:
    """Keeps the hub's topics subscribed and live."""

    def __init__(
        self,
        broker: Broker,
        people: People,
        hub: Hub[Socket],
        deliver: Callable[[list[Delivery[Socket]]], None],
        node_id: str,
    ) -> None:
        self._broker = broker
        self._people = people
        self._hub = hub
        self._deliver = deliver
        self._probe = keys.probe(node_id).encode()
        self._keys: dict[bytes, TopicKey] = {}  # of every open topic, by its pub/sub channel
        self._live: dict[TopicKey, asyncio.Event] = {}  # likewise; set while the topic is live
        self._commands: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()  # as many as topics open and close
        self._unconfirmed: Counter[bytes] = Counter()  # SUBSCRIBEs, sent or not, without an answer yet
        self._tasks: asyncio.TaskGroup | None = None  # of the present connection, if there is one
        self._to_tell: set[TopicKey] = set()  # presence topics that will be told of news
        self._catching_up = asyncio.Semaphore(CATCHING_UP_AT_ONCE)
        self._probed_at = -DEAD_AFTER_SECONDS  # monotonic time at which a probe last came back

    def why_not_ready(self) -> str | None:
        """None while messages are being delivered."""
        if time.monotonic() - self._probed_at > DEAD_AFTER_SECONDS:
            return "messages from Redis do not arrive"
        return None

    @asynccontextmanager
    async def live_topic(self, key: TopicKey) -> AsyncIterator[Topic[Socket]]:
        """Open a topic, wait until its messages are known to arrive, and keep it meanwhile."""
        topic = self._hub.open(key)
        topic.joiners += 1
        try:
            if key not in self._live:
                self._subscribe(key)
            await self._live[key].wait()
            yield topic
        finally:
            topic.joiners -= 1
            self.close_soon_if_idle(key)

    def _subscribe(self, key: TopicKey) -> None:
        channel = keys.topic_channel(*key).encode()
        self._live[key] = asyncio.Event()
        self._keys[channel] = key
        self._unconfirmed[channel] += 1
        self._commands.put_nowait(("subscribe", channel))

    def close_soon_if_idle(self, key: TopicKey) -> None:
        topic = self._hub.topics.get(key)
        if topic is not None and topic.is_idle:
            asyncio.get_running_loop().call_later(GRACE_SECONDS, self._close_if_idle, key)

    def _close_if_idle(self, key: TopicKey) -> None:
        if self._hub.close(key):
            channel = keys.topic_channel(*key).encode()
            del self._live[key], self._keys[channel]
            self._commands.put_nowait(("unsubscribe", channel))

    async def run(self) -> None:
        """Stay subscribed until cancelled."""
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                await self._one_connection()
            except* FAULTS as group:
                logger.warning("subscription to Redis: %s", group.exceptions[0])
            if self.why_not_ready() is None:
                delay = FIRST_RETRY_SECONDS
            self._lose_all()
            await asyncio.sleep(delay)
            delay = min(2 * delay, LAST_RETRY_SECONDS)

    def _lose_all(self) -> None:
        self._tasks = None
        self._probed_at = -DEAD_AFTER_SECONDS
        self._hub.fell_behind()
        for live in self._live.values():
            live.clear()
        metrics.redis_reconnects.inc()

    async def _one_connection(self) -> None:
        async with self._broker.client.pubsub() as pubsub, asyncio.TaskGroup() as tasks:
            self._commands = asyncio.Queue()
            channels = [self._probe, *self._keys]
            self._unconfirmed = Counter(channels)
            # Before any topic is caught up: under this reign or a later one.
            reign = await self._broker.probe(self._probe)
            async with redis_errors_as_unavailable():
                await pubsub.subscribe(*channels)
            self._tasks = tasks
            self._run(self._carry_out_commands(pubsub), "subscribe and unsubscribe")
            self._run(self._keep_probing(reign), "probe")
            self._run(self._read(pubsub), "read Redis")

    def _run(self, part: Coroutine[Any, Any, None], name: str) -> None:
        """Let it be a part of the present connection, which ends with the first part that fails."""
        assert self._tasks is not None
        self._tasks.create_task(self._or_lose(part), name=name)

    async def _or_lose(self, part: Coroutine[Any, Any, None]) -> None:
        try:
            await part
        except BaseException:
            self._tasks = None  # at once: a group that is ending takes no new task
            raise

    async def _carry_out_commands(self, pubsub: Any) -> None:
        """Send what was asked for since the last time as few commands, in order."""
        while True:
            command, channel = await self._commands.get()
            channels = [channel]
            following: tuple[str, bytes] | None = None
            while following is None and not self._commands.empty():
                following = self._commands.get_nowait()
                if following[0] == command:
                    channels.append(following[1])
                    following = None
            await self._send(pubsub, command, channels)
            if following is not None:
                await self._send(pubsub, following[0], [following[1]])

    async def _send(self, pubsub: Any, command: str, channels: list[bytes]) -> None:
        if command == "subscribe":
            await pubsub.subscribe(*channels)
        else:
            await pubsub.unsubscribe(*channels)

    async def _keep_probing(self, reign: str) -> None:
        while True:
            if await self._broker.probe(self._probe) != reign:
                raise Unavailable("Redis restarted, or another one took its place")
            await asyncio.sleep(PROBE_SECONDS)

    async def _read(self, pubsub: Any) -> None:
        began_at = time.monotonic()
        while True:
            waited = time.monotonic() - max(began_at, self._probed_at)
            if waited > DEAD_AFTER_SECONDS:  # whatever else came meanwhile
                raise TimeoutError("no probe came back")
            message = await pubsub.get_message(timeout=DEAD_AFTER_SECONDS - waited)
            match message and message["type"]:
                case "message":
                    self._received(message["channel"], message["data"])
                case "subscribe":
                    self._confirmed(message["channel"])

    def _received(self, channel: bytes, data: bytes) -> None:
        if channel == self._probe:
            self._probed_at = time.monotonic()
            return
        key = self._keys.get(channel)
        if key is None:
            return
        metrics.publications_received.inc()
        self._deliver(self._hub.received(key, read_publication(data)))
        topic = self._hub.topics[key]
        if topic.roster is not None and topic.roster.has_news:
            self._tell_presence_soon(key)
        if self._live[key].is_set() and self._hub.topics[key].state is TopicState.BEHIND:
            metrics.gaps.inc()
            self._start_catching_up(key)

    def _tell_presence_soon(self, key: TopicKey) -> None:
        """Gather what happens within a moment."""
        if key not in self._to_tell:
            self._to_tell.add(key)
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self.tell_presence, key)

    def tell_presence(self, key: TopicKey) -> None:
        """Tell a presence topic's subscribers what they were not told yet."""
        self._to_tell.discard(key)
        self._deliver(self._hub.tell_presence(key))

    def _confirmed(self, channel: bytes) -> None:
        self._unconfirmed[channel] -= 1
        if self._unconfirmed[channel] > 0:
            return  # closed and opened again meanwhile
        del self._unconfirmed[channel]
        key = self._keys.get(channel)
        if key is None:
            return
        if self._hub.topics[key].is_live:
            self._hub.topics[key].fall_behind()  # nothing is known to arrive but from here on
        self._start_catching_up(key)

    def _start_catching_up(self, key: TopicKey) -> None:
        self._live[key].clear()
        if self._tasks is not None:
            self._run(self._catch_up(key, self._hub.topics[key]), f"catch up {key}")

    def read_rosters_again(self) -> None:
        """Redis may have lost who is present, and whoever leaves then is announced by nobody."""
        for key in self._hub.doubt_rosters():
            self._start_catching_up(key)

    async def _catch_up(self, key: TopicKey, topic: Topic[Socket]) -> None:
        """Bring a topic to where Redis is, by history, until nothing is missing.

        When it is closed and opened again meanwhile, the confirmation of that starts one of its own.
        """
        async with self._catching_up:
            while self._is_open(key, topic) and topic.state is not TopicState.LIVE:
                if topic.roster is not None:
                    at, members = await self._people.members(*key)
                    if self._is_open(key, topic):
                        self._deliver(self._hub.roster_read(key, at, members))
                    continue
                position = await self._broker.position(*key)
                missed = None
                if topic.state is TopicState.BEHIND:
                    missed = await self._broker.missed(*key, since=topic.position, until=position)
                    if missed is None:
                        metrics.resyncs.inc()
                if self._is_open(key, topic):
                    self._deliver(self._hub.caught_up(key, position, missed))
            if self._is_open(key, topic):
                self._live[key].set()

    def _is_open(self, key: TopicKey, topic: Topic[Socket]) -> bool:
        return self._hub.topics.get(key) is topic
