"""The subscription to one server of Redis, over a connection that is made anew whenever it is in doubt.

A probe goes the way of every message: when none comes back, or the server has another `master_replid`, the
subscription is dead however healthy its connection looks. What a message means is up to the listener.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Collection, Coroutine
from contextlib import suppress
from typing import Any, Protocol

from redis.exceptions import MovedError, RedisError

from gateway import metrics
from gateway.broker import Broker
from realtime import names
from realtime.causes.sentence import why
from realtime.errors import Unavailable
from realtime.logs.setup import get_logger
from realtime.process.run import apart
from realtime.redis.client import redis_errors_as_unavailable
from realtime.redis.cluster import Server, slot_of
from realtime.waiting.backoff import Backoff
from realtime.waiting.outage import Outage
from realtime.waiting.survival import Part

log = get_logger(__name__)

FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 2.0
PROBE_SECONDS = 2.0
DEAD_AFTER_SECONDS = 3 * PROBE_SECONDS
PROBE_NAMES = 100_000  # that are tried to find one among the keys of a server
BATCH = 1_000  # channels that are subscribed to before the server has answered

FAULTS = (RedisError, OSError, TimeoutError, Unavailable)

_part = Part("line")


class Listener(Protocol):
    """Whom a subscription tells what it receives."""

    def received(self, server: RedisSubscription, channel: bytes, data: bytes) -> None:
        """A message came."""

    def confirmed(self, server: RedisSubscription, channel: bytes) -> None:
        """From here on every message comes, while the connection lasts."""

    def lost(self, server: RedisSubscription, channels: Collection[bytes]) -> None:
        """Messages of these may be missed from here on."""

    def refused(self, server: RedisSubscription, channels: Collection[bytes]) -> None:
        """The server does not have these, and their messages do not come."""


class RedisSubscription:
    """The subscription to one server."""

    def __init__(self, server: Server, broker: Broker, node_id: str, listener: Listener) -> None:
        self.server = server
        self._broker = broker
        self._servers = broker.store.servers
        self._node_id = node_id
        self._listener = listener
        self._channels: set[bytes] = set()  # that are subscribed to, or about to be
        self._commands: deque[tuple[str, bytes]] = deque()  # not sent yet; as many as topics open and close
        self._is_asked = asyncio.Event()  # for one of them
        self._is_answered = asyncio.Event()  # what was sent before the last PING
        self._unconfirmed: Counter[bytes] = Counter()  # SSUBSCRIBEs, sent or not, without an answer yet
        self._tasks: asyncio.TaskGroup | None = None  # of the present connection, if there is one
        self._probe = b""  # the channel of the present connection's probes
        self._is_probe_heard = asyncio.Event()  # from now on: the one before may be lost
        self._probed_at = -DEAD_AFTER_SECONDS  # monotonic time at which a probe last came back
        self._outage = Outage()  # what is news of why it was lost
        self.reason = str(server)  # which server it is, and why it was lost if it was

    def __repr__(self) -> str:
        return f"<RedisSubscription to {self.server}, {len(self._channels)} channels>"

    @property
    def is_live(self) -> bool:
        return time.monotonic() - self._probed_at <= DEAD_AFTER_SECONDS

    def subscribe(self, channel: bytes) -> None:
        self._channels.add(channel)
        self._unconfirmed[channel] += 1
        self._ask("subscribe", channel)

    def unsubscribe(self, channel: bytes) -> None:
        self._channels.discard(channel)
        self._ask("unsubscribe", channel)

    def run_along(self, part: Coroutine[Any, Any, None], name: str) -> None:
        """Run something as a part of the present connection, if there is one.

        The connection ends with the first part that fails, and all parts with the connection.
        """
        if self._tasks is None:
            part.close()
        else:
            self._tasks.create_task(self._or_lose(part), name=name)

    async def _or_lose(self, part: Coroutine[Any, Any, None]) -> None:
        try:
            await part
        except BaseException:
            self._tasks = None  # at once: a group that is ending takes no new task
            raise

    async def run(self) -> None:
        """Stay subscribed until cancelled."""
        backoff = Backoff(FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS)
        while True:
            try:
                await apart(self._one_connection(), f"connection to {self.server}")
            except* FAULTS as group:
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
        self._probed_at = -DEAD_AFTER_SECONDS
        self._servers.look_soon()
        self._listener.lost(self, self._channels)
        metrics.redis_reconnects.inc()

    async def _one_connection(self) -> None:
        async with self.server.client.pubsub() as pubsub, asyncio.TaskGroup() as tasks:
            self._commands.clear()
            self._probe = self._channel_here()
            channels = [self._probe, *self._channels]  # the probe first: it need not wait for the others
            self._unconfirmed = Counter(channels)
            for channel in channels:
                self._ask("subscribe", channel)
            # Before any topic is caught up: from this Redis or a later one.
            replid = await self._broker.probe(self._probe)
            async with redis_errors_as_unavailable():
                await pubsub.connect()
            self._tasks = tasks
            self.run_along(self._carry_out_commands(pubsub), "subscribe and unsubscribe")
            self.run_along(self._keep_probing(replid), "probe")
            self.run_along(self._read(pubsub), "read Redis")

    def _channel_here(self) -> bytes:
        """Return a channel of this node's that the server has."""
        for number in range(PROBE_NAMES) if self.server in self._servers.all else ():
            channel = names.probe(self._node_id, number).encode()
            if self._servers.of(channel) is self.server:
                return channel
        raise Unavailable(f"{self.server} has no keys")

    async def _carry_out_commands(self, pubsub: Any) -> None:
        """Send what was asked for since the last time as few commands, in order.

        A batch at a time: a server ends a subscription whose answers it cannot get rid of.
        """
        sent = 0
        while True:
            command, channels = await self._next_batch()
            for of_slots in self._servers.batches(channels):
                await (pubsub.ssubscribe if command == "subscribe" else pubsub.sunsubscribe)(*of_slots)
            sent += len(channels)
            if sent >= BATCH:
                sent = 0
                self._is_answered.clear()
                await pubsub.ping()
                await self._is_answered.wait()

    async def _next_batch(self) -> tuple[str, list[bytes]]:
        """Wait for commands, and return those of one kind that follow each other."""
        await self._is_asked.wait()
        command, _ = self._commands[0]
        channels: list[bytes] = []
        while self._commands and self._commands[0][0] == command and len(channels) < BATCH:
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
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._is_probe_heard.wait()
            self._is_probe_heard.clear()

    def _probe_elsewhere(self) -> None:
        """The server has the slot of the probe no more, and still others."""
        self._probe = self._channel_here()
        self._unconfirmed[self._probe] += 1
        self._ask("subscribe", self._probe)

    async def _read(self, pubsub: Any) -> None:
        began_at = time.monotonic()
        while True:
            waited = time.monotonic() - max(began_at, self._probed_at)
            if waited > DEAD_AFTER_SECONDS:  # whatever else came meanwhile
                raise TimeoutError("no probe came back")
            try:
                message = await pubsub.get_message(timeout=DEAD_AFTER_SECONDS - waited)
            except MovedError as error:  # in answer to SSUBSCRIBE, or to SUNSUBSCRIBE
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
            return  # closed and opened again meanwhile
        del self._unconfirmed[channel]
        if channel in self._channels:
            self._listener.confirmed(self, channel)
        elif channel == self._probe:
            self._is_probe_heard.set()

    def _ended(self, channel: bytes) -> None:
        """By our own wish, or since the server has its slot no more."""
        if self._unconfirmed[channel]:
            return
        if channel in self._channels:
            self._listener.lost(self, [channel])
            self.subscribe(channel)  # to be told who has it
        elif channel == self._probe:
            self._probe_elsewhere()

    def _refused(self, error: MovedError) -> None:
        """Another server has a slot: its channels are not subscribed to here."""
        error.host = error.host or self.server.address[0]
        refused = [one for one in self._unconfirmed if slot_of(one) == error.slot_id]
        for channel in refused:
            del self._unconfirmed[channel]
        self._servers.moved(error)
        self._listener.refused(self, self._channels.intersection(refused))
