"""A client that does nothing wrong beside others that do: what it hears is whole, and its delays are told."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.change_stream import Publisher, background
from tests.gateway_fixture import Client, eventually

INTERVAL_SECONDS = 0.01  # between two changes
DEADLINE = 90.0  # for the last of them to arrive on a busy machine


@asynccontextmanager
async def watching(client: Client, publisher: Publisher) -> AsyncIterator[list[float]]:
    """Publish while the block runs; the client must hear all of it, in order. Yields the delays."""
    await client.subscribe("table:orders")
    sent: list[float] = []
    heard: list[int] = []
    delays: list[float] = []
    is_over = asyncio.Event()

    async def publish() -> None:
        # To the end of what is being published: cut off there, nobody knew whether Redis has it.
        while not is_over.is_set():
            sent.append(time.monotonic())
            await publisher.publish()
            await asyncio.sleep(INTERVAL_SECONDS)

    async def hear() -> None:
        while True:
            heard.extend(await client.hear_rows(1))
            delays.append(time.monotonic() - sent[heard[-1] - 1])

    async with background(asyncio.create_task(hear(), name="hear")):
        publishing = asyncio.create_task(publish(), name="publish")
        try:
            yield delays
        finally:
            is_over.set()
            await publishing
        await eventually(lambda: len(heard) >= publisher.published, DEADLINE)
    assert heard == list(range(1, publisher.published + 1)), "the other client missed or repeated something"


def told(delays: list[float]) -> str:
    cuts = statistics.quantiles(delays, n=100)
    return f"p50 {1000 * cuts[49]:.1f} ms, p99 {1000 * cuts[98]:.1f} ms, worst {1000 * max(delays):.1f} ms"
