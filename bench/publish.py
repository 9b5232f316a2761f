"""What a lone publication costs Valkey: CPU of its process, beside a bare PUBLISH and an empty script.

Few of them come at a time, so that each wakes Valkey, and caches are cold. All kinds take turns, a block of
calls each; one subscriber listens to them all.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import psutil

from bench.changes import Changes, line_of
from bench.cpu import cpu_seconds
from bench.figures import Figure
from bench.programs import PROJECT
from gateway.broker import Broker, Post
from realtime import names
from realtime.channels import Table
from realtime.dev.valkey import valkey
from realtime.redis.client import Store, connect
from realtime.redis.history import History
from realtime.settings.config import Settings

RATE = 200  # calls a second
BLOCKS = 10  # of each kind and round
BLOCK = 20  # calls of one kind before it is the turn of the next
ROOM = History(1_000_000, 3_600)  # which stays far from full
FULL = History(100, 3_600)  # which gives up an entry for each that comes
LINE = line_of(Table("public", "full"))
ECHO, BARE, EMPTY = BESIDE = ("ECHO", "bare PUBLISH", "empty script")

Call = Callable[[], Awaitable[object]]


async def measure(rounds: int) -> list[Figure]:
    """Print the median microseconds of CPU of each kind, and its ratio to a bare PUBLISH."""
    with tempfile.TemporaryDirectory(prefix="realtime-bench-") as name:
        async with valkey(Path(name), settings={"appendonly": "no"}) as server, connect(server.url) as store:
            kinds = await _kinds(store)
            async with store.servers.all[0].client.pubsub() as subscription:
                await subscription.ssubscribe(*_channels())
                async with asyncio.TaskGroup() as tasks:
                    listening = tasks.create_task(_listen(subscription), name="listen")
                    for call in kinds.values():
                        for _ in range(2 * FULL.max_entries):
                            await call()
                    costs = await _costs(psutil.Process(server.pid), kinds, rounds * BLOCKS)
                    listening.cancel()
    print(
        f"Valkey's CPU for a lone call, one subscriber, {RATE} a second, medians of {rounds * BLOCKS} blocks"
    )
    medians = {kind: statistics.median(measured) for kind, measured in costs.items()}
    beside = {kind: medians[kind] for kind in BESIDE}
    for kind, cost in medians.items():
        print(f"  {kind:<26} {cost:6.1f} µs, {cost / medians[BARE]:4.1f} of a bare PUBLISH")
    return [Figure(kind, cost, "µs", beside) for kind, cost in medians.items() if kind not in BESIDE]


async def _kinds(store: Store) -> Mapping[str, Call]:
    (empty,) = (await store.everywhere("SCRIPT", "LOAD", "return 1")).values()
    channel = names.topic_channel(PROJECT, "bare")
    return {
        ECHO: lambda: store.call("ECHO", "x"),
        BARE: lambda: store.call("SPUBLISH", channel, LINE),
        EMPTY: lambda: store.call("EVALSHA", empty, 0),
        "change, history has room": _changes(store, Table("public", "room"), ROOM),
        "change, history is full": _changes(store, Table("public", "full"), FULL),
        "broadcast, history is full": _broadcasts(store, FULL),
    }


def _channels() -> list[str]:
    topics = "bare", Table("public", "room").topic, Table("public", "full").topic, "room:full"
    return [names.topic_channel(PROJECT, topic) for topic in topics]


def _changes(store: Store, table: Table, history: History) -> Call:
    changes = Changes(store, table, history)
    return lambda: changes.publish([LINE])


def _broadcasts(store: Store, history: History) -> Call:
    broker = Broker(store, Settings())
    return lambda: broker.posting([Post(PROJECT, "room:full", [LINE.encode()], history)])()


async def _listen(subscription: object) -> None:
    async for _ in subscription.listen():  # type: ignore[attr-defined]
        pass


async def _costs(process: psutil.Process, kinds: Mapping[str, Call], blocks: int) -> dict[str, list[float]]:
    costs: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(blocks):
        for kind in random.sample(list(kinds), len(kinds)):
            started = time.monotonic()
            for number in range(BLOCK):
                before = cpu_seconds(process)
                await kinds[kind]()
                await asyncio.sleep(started + (number + 1) / RATE - time.monotonic())
                if number:  # the first one of a block meets the caches of another kind
                    costs[kind].append((cpu_seconds(process) - before) * 1_000_000)
    return costs
