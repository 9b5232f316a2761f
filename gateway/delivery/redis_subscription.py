"""The subscription to one Redis server, over a connection that is replaced whenever it is in doubt.

A probe takes the way of every message: when no probe comes back, or the server has another `master_replid`,
the subscription is dead, however healthy its connection looks. The listener interprets the messages.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Collection, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

from redis.exceptions import MovedError, RedisError

from gateway import metrics
from gateway.broker import Broker
from gateway.delivery.timings import DEFAULTS, DeliveryTimings
from realtime import names
from realtime.causes.sentence import why
from realtime.errors import Unavailable
from realtime.logs.setup import get_logger
from realtime.process.run import apart
from realtime.redis.cluster import Server, slot_of
from realtime.redis.failures import redis_errors_as_unavailable
from realtime.waiting.backoff import Backoff
from realtime.waiting.outage import Outage
from realtime.waiting.survival import Part

log = get_logger(__name__)

PROBE_NAMES = 100_000  # names tried to find a probe channel whose slot a server has
MAX_CHANNELS = 1_000  # channels that are requested before waiting for the server's answer

CONNECTION_ERRORS = (RedisError, OSError, TimeoutError, Unavailable)

_part = Part("line")


class Listener(Protocol):
    """Receives the messages and the state changes of a subscription."""

    def received(self, server: RedisSubscription, channel: bytes, data: bytes) -> None:
        """A message arrived."""

    def confirmed(self, server: RedisSubscription, channel: bytes) -> None:
        """From now on every message of the channel arrives, while the connection lasts."""

    def lost(self, server: RedisSubscription, channels: Collection[bytes]) -> None:
        """Messages of these channels may be missed from now on."""

    def refused(self, server: RedisSubscription, channels: Collection[bytes]) -> None:
        """The server does not have these channels, so their messages do not arrive."""


@dataclass(frozen=True, slots=True)
class SubscriptionOptions:
    """What the subscriptions of a node to all Redis servers have in common."""

    node_id: str  # a part of the names of probe channels
    timings: DeliveryTimings = DEFAULTS
    max_channels: int = MAX_CHANNELS


class RedisSubscription:
    """The subscription to one Redis server."""

    def __init__(
        self, server: Server, broker: Broker, options: SubscriptionOptions, listener: Listener
    ) -> None:
        self.server = server
        self._broker = broker
        self._servers = broker.store.servers
        self._options = options
        self._timings = options.timings
        self._listener = listener
        self._channels: set[bytes] = set()  # subscribed to, or soon to be
        self._commands: deque[tuple[str, bytes]] = deque()  # not sent yet; one per opened or closed topic
        self._is_asked = asyncio.Event()  # set while there are commands to send
        self._is_answered = asyncio.Event()  # set when the server has answered the last PING
        self._unconfirmed: Counter[bytes] = Counter()  # SSUBSCRIBEs without an answer yet, sent or not
        self._tasks: asyncio.TaskGroup | None = None  # of the current connection, if there is one
        self._probe = b""  # the channel of the current connection's probes
        self._is_probe_heard = asyncio.Event()  # set when it is confirmed; an earlier probe may be lost
        self._probed_at = -inf  # monotonic time at which a probe last came back
        self._outage = Outage()  # decides whether a loss is worth a log line
        self.reason = str(server)  # the server, and why the subscription was lost if it was

    def __repr__(self) -> str:
        return f"<RedisSubscription to {self.server}, {len(self._channels)} channels>"

    @property
    def is_live(self) -> bool:
        return time.monotonic() - self._probed_at <= self._timings.dead_after_seconds

    def subscribe(self, channel: bytes) -> None:
        self._channels.add(channel)
        self._unconfirmed[channel] += 1
        self._ask("subscribe", channel)

    def unsubscribe(self, channel: bytes) -> None:
        self._channels.discard(channel)
        self._ask("unsubscribe", channel)

    def run_along(self, part: Coroutine[Any, Any, None], name: str) -> None:
        """Run a coroutine as a part of the current connection, if there is one.

        The connection ends when the first part fails, and all parts end with the connection.
        """
        if self._tasks is None:
            part.close()
        else:
            self._tasks.create_task(self._or_lose(part), name=name)

    async def _or_lose(self, part: Coroutine[Any, Any, None]) -> None:
        try:
            await part
        except BaseException:
            self._tasks = None  # at once: a task group that is ending takes no new task
            raise

    async def run(self) -> None:
        """Stay subscribed until cancelled."""
        backoff = Backoff(self._timings.first_retry_seconds, self._timings.last_retry_seconds)
        while True:
            try:
                await apart(self._one_connection(), f"connection to {self.server}")
            except* CONNECTION_ERRORS as group:
                self.reason = why(group, self.server)
                if self._outage.is_news(self.reason, time.monotonic()):
                    log.warning("redis_subscription_lost", server=str(self.server), error=self.reason)
            except* Exception as group:
                _part.note(group, str(self.server))
            if self.is_live:
                backoff.reset()
            with _part.survives(str(self.server)):
                self._lose()
            await asyncio.sleep(backoff.next())

    def _lose(self) -> None:
        self._tasks = None
        self._probed_at = -inf
        self._servers.look_soon()
        self._listener.lost(self, self._channels)
        metrics.redis_reconnects.inc()

    async def _one_connection(self) -> None:
        async with self.server.client.pubsub() as pubsub, asyncio.TaskGroup() as tasks:
            self._commands.clear()
            self._probe = self._channel_here()
            channels = [self._probe, *self._channels]  # the probe is first: it must not wait for the others
            self._unconfirmed = Counter(channels)
            for channel in channels:
                self._ask("subscribe", channel)
            # Read before any topic is caught up, so that topics catch up from this Redis or a later one.
            replid = await self._broker.probe(self._probe)
            async with redis_errors_as_unavailable():
                await pubsub.connect()
            self._tasks = tasks
            self.run_along(self._carry_out_commands(pubsub), "subscribe and unsubscribe")
            self.run_along(self._keep_probing(replid), "probe")
            self.run_along(self._read(pubsub), "read Redis")

    def _channel_here(self) -> bytes:
        """Return a probe channel of this node whose slot the server has."""
        for number in range(PROBE_NAMES) if self.server in self._servers.all else ():
            channel = names.probe(self._options.node_id, number).encode()
            if self._servers.of(channel) is self.server:
                return channel
        raise Unavailable(f"{self.server} has no keys")

    async def _carry_out_commands(self, pubsub: Any) -> None:
        """Send the waiting subscribes and unsubscribes in order, in as few commands as possible.

        One batch at a time: Redis closes a connection that has too many unread answers.
        """
        sent = 0
        while True:
            command, channels = await self._next_batch()
            for of_slots in self._servers.batches(channels):
                await (pubsub.ssubscribe if command == "subscribe" else pubsub.sunsubscribe)(*of_slots)
            sent += len(channels)
            if sent >= self._options.max_channels:
                sent = 0
                self._is_answered.clear()
                await pubsub.ping()
                await self._is_answered.wait()

    async def _next_batch(self) -> tuple[str, list[bytes]]:
        """Wait for commands, and return the channels of the first run of one kind."""
        await self._is_asked.wait()
        command, _ = self._commands[0]
        channels: list[bytes] = []
        most = self._options.max_channels
        while self._commands and self._commands[0][0] == command and len(channels) < most:
            channels.append(self._commands.popleft()[1])
        if not self._commands:
            self._is_asked.clear()
        return command, channels

    def _ask(self, command: str, channel: bytes) -> None:
        self._commands.append((command, channel))
        self._is_asked.set()

    async def _keep_probing(self, replid: str) -> None:
        while True:
            if self._servers.of(self._probe) is not self.server:
                self._probe_elsewhere()
            elif await self._broker.probe(self._probe) != replid:
                raise Unavailable("Redis restarted, or another one took its place")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._timings.probe_seconds):
                    await self._is_probe_heard.wait()
            self._is_probe_heard.clear()

    def _probe_elsewhere(self) -> None:
        """Choose another probe, since the server no longer has the slot of this one."""
        self._probe = self._channel_here()
        self._unconfirmed[self._probe] += 1
        self._ask("subscribe", self._probe)

    async def _read(self, pubsub: Any) -> None:
        dead_after = self._timings.dead_after_seconds
        began_at = time.monotonic()
        while True:
            waited = time.monotonic() - max(began_at, self._probed_at)
            if waited > dead_after:  # even if other messages came meanwhile
                raise TimeoutError("no probe came back")
            try:
                message = await pubsub.get_message(timeout=dead_after - waited)
            except MovedError as error:  # the answer to an SSUBSCRIBE or SUNSUBSCRIBE
                self._refused(error)
                continue
            match message and message["type"]:
                case "smessage":
                    self._received(message["channel"], message["data"])
                case "ssubscribe":
                    self._confirmed(message["channel"])
                case "sunsubscribe":
                    self._ended(message["channel"])
                case "pong":
                    self._is_answered.set()

    def _received(self, channel: bytes, data: bytes) -> None:
        if channel == self._probe:
            self._probed_at = time.monotonic()
        elif channel in self._channels:
            self._listener.received(self, channel, data)

    def _confirmed(self, channel: bytes) -> None:
        self._unconfirmed[channel] -= 1
        if self._unconfirmed[channel] > 0:
            return  # the topic was closed and opened again meanwhile
        del self._unconfirmed[channel]
        if channel in self._channels:
            self._listener.confirmed(self, channel)
        elif channel == self._probe:
            self._is_probe_heard.set()

    def _ended(self, channel: bytes) -> None:
        """Handle the end of a channel: this node asked for it, or the server no longer has the slot."""
        if self._unconfirmed[channel]:
            return
        if channel in self._channels:
            self._listener.lost(self, [channel])
            self.subscribe(channel)  # the answer names the server that has it
        elif channel == self._probe:
            self._probe_elsewhere()

    def _refused(self, error: MovedError) -> None:
        """Report that another server has a slot, so the channels of the slot are not subscribed here."""
        error.host = error.host or self.server.address[0]
        refused = [one for one in self._unconfirmed if slot_of(one) == error.slot_id]
        for channel in refused:
            del self._unconfirmed[channel]
        self._servers.moved(error)
        self._listener.refused(self, self._channels.intersection(refused))
