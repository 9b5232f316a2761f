"""Limits how many empty topics a node leaves in Redis, and for how long.

A subscribe gives an empty topic an epoch, so that a client that reconnects within minutes is `recovered`.
Nodes keep the epoch while a client is subscribed. What is left is limited by connection and by project.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

from gateway.broker import Broker
from gateway.delivery.left_behind import LeftBehind
from gateway.delivery.timings import DEFAULTS, DeliveryTimings
from gateway.hub.hub import Hub
from gateway.hub.topic import Topic
from gateway.wire.send_queue import SendQueue
from realtime.channels import TopicKey, is_presence_topic
from realtime.errors import ClientError, Code, Unavailable
from realtime.settings.config import Limits
from realtime.waiting.batches import batches
from realtime.waiting.survival import Part

AT_ONCE = 500  # topics in one round trip

MAX_TO_FORGET = 20_000  # topics that wait to be forgotten; topics beyond it expire soon anyway

# Empty topics that a connection may leave behind, as a multiple of the channels that it may have at once.
LEFT_BY_CONNECTION = 10

_part = Part("empty topics")


class EmptyTopics:
    """The empty topics that the clients of a node have created."""

    def __init__(self, broker: Broker, hub: Hub[SendQueue], timings: DeliveryTimings = DEFAULTS) -> None:
        self._broker = broker
        self._hub = hub
        self._keep_part = timings.keep_part
        self._left_by_project = timings.left_by_project
        self._left = LeftBehind(broker.empty_seconds)
        self._makers: dict[TopicKey, str] = {}  # the connection for which an open topic was opened
        self._enabled: dict[TopicKey, float] = {}  # seconds to keep topics of enabled tables
        self._to_forget: deque[TopicKey] = deque(maxlen=MAX_TO_FORGET)  # in Redis
        self._is_asked = asyncio.Event()  # set when there are topics to forget

    def __repr__(self) -> str:
        return f"<EmptyTopics {len(self._makers)} open, {self._left!r}>"

    def opened(self, key: TopicKey, connection_id: str, limits: Limits) -> None:
        """Record that a topic is about to be opened for a client.

        Raises ClientError `rate_limited` if the client has left too many empty topics behind.
        """
        if is_presence_topic(key[1]):
            return  # a subscribe to a presence topic writes nothing
        most = LEFT_BY_CONNECTION * limits.max_channels_per_connection
        if self._left.made_by(connection_id, time.monotonic()) >= most:
            raise ClientError(
                Code.RATE_LIMITED,
                f"this connection has subscribed to {most} channels in which nothing was said, and left them:"
                " it may have no other new ones for some minutes",
            )
        self._left.remove(key)
        self._makers[key] = connection_id

    def closed(self, key: TopicKey, topic: Topic[SendQueue]) -> None:
        """Record that a topic was closed."""
        maker = self._makers.pop(key, None)
        is_enabled = self._enabled.pop(key, None) is not None
        if maker is None or is_enabled or not topic.is_empty:
            return
        now = time.monotonic()
        self._left.add(key, maker, now)
        if beyond := self._left.oldest_beyond(self._left_by_project, key[0], now):
            self._to_forget += beyond
            self._is_asked.set()

    async def keep_of_enabled_table(self, key: TopicKey, seconds: float) -> None:
        """Keep the empty topic of a table for longer, since an administrator has enabled the table."""
        if key in self._enabled or key not in self._makers:
            return
        self._enabled[key] = seconds
        with suppress(Unavailable):  # the next round keeps it
            await self._broker.keep_empty([(*key, seconds)])

    async def run(self) -> None:
        """Keep open topics in Redis and forget topics beyond the limit, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_on(), name="keep empty topics")
            tasks.create_task(self._forget_on(), name="forget empty topics")

    async def _keep_on(self) -> None:
        while True:
            await asyncio.sleep(self._keep_part * self._broker.empty_seconds)
            with _part.survives(), suppress(Unavailable):  # topics outlive some failed rounds
                await self._keep_open()

    async def _keep_open(self) -> None:
        for batch in batches(list(self._empty()), AT_ONCE):
            await self._broker.keep_empty(batch)

    def _empty(self) -> Iterator[tuple[str, str, float]]:
        for key in self._makers:
            topic = self._hub.topics.get(key)
            if topic is not None and topic.is_empty:
                yield *key, self._enabled.get(key, self._broker.empty_seconds)

    async def _forget_on(self) -> None:
        while True:
            await self._is_asked.wait()
            self._is_asked.clear()
            while self._to_forget:
                piece = [self._to_forget.popleft() for _ in range(min(AT_ONCE, len(self._to_forget)))]
                still_left = [key for key in piece if key not in self._makers]
                with _part.survives(), suppress(Unavailable):
                    await self._broker.forget_empty(still_left)
