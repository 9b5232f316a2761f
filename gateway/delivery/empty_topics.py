"""What subscribing to topics in which nothing was said leaves in Redis, for how long, and how much of it.

To subscribe gives an empty topic an epoch, so that a client that comes back within minutes is `recovered`.
The nodes keep it while somebody is subscribed. What was left is bounded by connection and by project.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

from gateway.broker import Broker
from gateway.delivery.left_behind import LeftBehind
from gateway.hub.hub import Hub
from gateway.hub.topic import Topic
from gateway.wire.send_queue import SendQueue
from realtime.channels import TopicKey, is_presence_topic
from realtime.errors import ClientError, Code, Unavailable
from realtime.settings.config import Limits
from realtime.waiting.batches import batches
from realtime.waiting.survival import Part

KEEP_PART = 0.2  # of the time for which Redis remembers an empty topic, between two rounds that keep them
AT_ONCE = 500  # topics of one round trip

# That a client has left behind, times the channels that it may have at once: it turns its pages that often.
LEFT_BY_CONNECTION = 10
# That clients of a project have left behind here, 7 to 14 MB of Redis: the oldest beyond it are forgotten.
LEFT_BY_PROJECT = 20_000

_part = Part("empty topics")


class EmptyTopics:
    """The topics of a node that are empty, as far as its clients have made them."""

    def __init__(self, broker: Broker, hub: Hub[SendQueue]) -> None:
        self._broker = broker
        self._hub = hub
        self._left = LeftBehind(broker.empty_seconds)
        self._makers: dict[TopicKey, str] = {}  # the connection for which an open topic was opened
        self._enabled: dict[TopicKey, float] = {}  # open topics of enabled tables: for how long they are kept
        self._to_forget: deque[TopicKey] = deque(maxlen=LEFT_BY_PROJECT)  # in Redis; gone soon in any case
        self._is_asked = asyncio.Event()  # to forget some

    def __repr__(self) -> str:
        return f"<EmptyTopics {len(self._makers)} open, {self._left!r}>"

    def opened(self, key: TopicKey, connection_id: str, limits: Limits) -> None:
        """A topic is about to be opened for a client.

        Raises ClientError `rate_limited` if the client has left too many behind in which nothing was said.
        """
        if is_presence_topic(key[1]):
            return  # to subscribe to it writes nothing
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
        """A topic is open no more."""
        maker = self._makers.pop(key, None)
        is_enabled = self._enabled.pop(key, None) is not None
        if maker is None or is_enabled or not topic.is_empty:
            return
        now = time.monotonic()
        self._left.add(key, maker, now)
        if beyond := self._left.oldest_beyond(LEFT_BY_PROJECT, key[0], now):
            self._to_forget += beyond
            self._is_asked.set()

    async def keep_of_enabled_table(self, key: TopicKey, seconds: float) -> None:
        """The empty topic of a table that an administrator has enabled is remembered for longer."""
        if key in self._enabled or key not in self._makers:
            return
        self._enabled[key] = seconds
        with suppress(Unavailable):  # the next round keeps it
            await self._broker.keep_empty([(*key, seconds)])

    async def run(self) -> None:
        """Keep what is open and forget what was left, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_on(), name="keep empty topics")
            tasks.create_task(self._forget_on(), name="forget empty topics")

    async def _keep_on(self) -> None:
        while True:
            await asyncio.sleep(KEEP_PART * self._broker.empty_seconds)
            with _part.survives(), suppress(Unavailable):  # they outlive some rounds
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
