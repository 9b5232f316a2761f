"""A Redis that answers when the test lets it, and the subscription of a node that is played on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any, cast

from redis.exceptions import MovedError

from gateway.delivery.redis_subscription import MAX_CHANNELS, SubscriptionOptions
from gateway.delivery.stages import Outlet, Stage, Stages
from gateway.delivery.timings import DeliveryTimings
from gateway.delivery.topic_subscriptions import TopicSubscriptions
from gateway.hub.hub import Hub
from realtime import names
from realtime.publications import Position, Publication
from realtime.redis.cluster import Server
from tests.gateway_fixture import eventually

ROOM, LOBBY = ("demo", "room:a"), ("demo", "presence:lobby")
QUICK = DeliveryTimings(grace_seconds=0, first_retry_seconds=0, probe_seconds=0.01)
PROBE = names.probe("node").encode()


def channel_of(key: tuple[str, str]) -> bytes:
    return names.topic_channel(*key).encode()


def at(offset: int) -> Position:
    return Position("e", offset)


class Connection:
    """One subscription: what it was asked, and what the test has it say."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._says: asyncio.Queue[dict[str, Any] | Exception] = asyncio.Queue()
        self._program: Any = None
        self.asked: list[tuple[str, bytes]] = []

    async def __aenter__(self) -> Connection:
        self._redis.connections.append(self)
        await self._redis.reachable.wait()
        self._program, self._redis.program = self._redis.program, None
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def connect(self) -> None:
        pass

    async def ping(self) -> None:
        await self._redis.pongs.wait()
        self.says({"type": "pong"})

    async def ssubscribe(self, *channels: bytes) -> None:
        self.asked += [("subscribe", channel) for channel in channels]

    async def sunsubscribe(self, *channels: bytes) -> None:
        self.asked += [("unsubscribe", channel) for channel in channels]
        await self._redis.unsubscribes.wait()

    async def get_message(self, timeout: float) -> dict[str, Any] | None:
        if self._program is not None:
            await asyncio.sleep(0)
            return self._program(timeout)
        said = await self._says.get()
        if isinstance(said, Exception):
            raise said
        return said

    def says(self, what: dict[str, Any] | Exception) -> None:
        self._says.put_nowait(what)

    def confirm(self, key: tuple[str, str]) -> None:
        self.says({"type": "ssubscribe", "channel": channel_of(key)})

    def break_off(self) -> None:
        self.says(ConnectionError("reset"))


class Servers:
    """One server that has everything."""

    def __init__(self, redis: Redis) -> None:
        self._news = asyncio.Event()
        client = SimpleNamespace(pubsub=lambda: Connection(redis), connection_pool=None)
        self.all = (Server(("127.0.0.1", 6379), cast(Any, client)),)

    def of(self, channel: bytes) -> Any:
        return self.all[0]

    def batches(self, channels: list[bytes]) -> list[list[bytes]]:
        return [list(channels)]

    def look_soon(self) -> None:
        pass

    def moved(self, error: MovedError) -> None:
        pass

    def wake_waiters(self) -> None:
        self._news.set()

    async def changed(self) -> None:
        await self._news.wait()
        self._news.clear()


class Redis:
    """Broker and people in one."""

    def __init__(self) -> None:
        self.store = SimpleNamespace(servers=Servers(self))
        self.connections: list[Connection] = []
        self.reads = 0  # begun
        self.now = at(5)
        self.program: Any = None  # of the next connection: a time to wait → what it says
        ways = [asyncio.Event() for _ in range(5)]
        self.reachable, self.probes, self.reading, self.unsubscribes, self.pongs = ways
        for way in ways:
            way.set()

    async def probe(self, channel: bytes) -> str:
        await self.probes.wait()
        return "reign"

    async def position(self, *key: str) -> Position:
        self.reads += 1
        await self.reading.wait()
        return self.now

    async def page(self, *key: str, since: Position, until: int) -> list[Publication]:
        return [Publication("e", since.offset + 1, [b'B"payload":1'])]

    async def members(self, *key: str) -> tuple[Position, dict[bytes, bytes]]:
        return await self.position(*key), {}


class Play:
    """A subscriber, and the clients who wait for its topics."""

    def __init__(
        self, *stages: Stage, timings: DeliveryTimings = QUICK, max_channels: int = MAX_CHANNELS
    ) -> None:
        self.redis = Redis()
        self.hub: Hub[Any] = Hub()
        self.deliver: Callable[[list[Any]], None] = lambda deliveries: None
        redis = cast(Any, self.redis)
        outlet = Outlet(Stages(stages), lambda deliveries: self.deliver(deliveries))
        options = SubscriptionOptions("node", timings, max_channels)
        self.subscriber = TopicSubscriptions(redis, redis, self.hub, outlet, options)
        self._joined: dict[tuple[str, str], AsyncExitStack] = {}

    @property
    def connection(self) -> Connection:
        return self.redis.connections[-1]

    async def join(self, key: tuple[str, str]) -> asyncio.Task[Any]:
        """Begin to open a topic; the task ends when it is live."""
        stack = self._joined[key] = AsyncExitStack()
        joining = asyncio.create_task(stack.enter_async_context(self.subscriber.live_topic(key)))
        await eventually(lambda: key in self.hub.topics)
        return joining

    async def leave(self, key: tuple[str, str], joining: asyncio.Task[Any]) -> None:
        """Leave a topic, whether it was live or not, and wait until it is closed."""
        joining.cancel()
        await asyncio.wait([joining])
        await self._joined.pop(key).aclose()
        await eventually(lambda: key not in self.hub.topics)

    async def is_asked(self, *commands: str, key: tuple[str, str] = ROOM) -> None:
        """Until the present connection was asked exactly this of a topic."""

        def asked() -> list[str]:
            return [command for command, channel in self.connection.asked if channel == channel_of(key)]

        await eventually(lambda: self.redis.connections and asked() == list(commands))

    async def settle(self) -> None:
        """Until whatever can happen has happened."""
        for _ in range(20):
            await asyncio.sleep(0)
