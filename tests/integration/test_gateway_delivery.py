"""Clients that cannot follow a burst, or only just, and what becomes of the others."""

from __future__ import annotations

import asyncio
import json

import pytest

from gateway.timings import Timings
from realtime.settings.config import Limits
from tests.change_stream import publisher_to
from tests.expressions import value
from tests.gateway_fixture import eventually, running_gateway, settings_for, token_for
from tests.raw_socket import CLOSE, TEXT, frame, raw_socket

KIB = 1024
BURST_KIB = 6 * 1024  # more than the kernel keeps on its way to a client, less than a socket may have waiting
STEP_KIB = 64


@pytest.fixture
def timings():
    return Timings(tick_seconds=0.02)


@pytest.fixture
async def strict(database_url, redis_url, timings):
    """A gateway that has little patience, and a publisher to it."""
    limits = Limits(max_queue_bytes=64 * KIB, slow_consumer_seconds=1)
    settings = settings_for(database_url, redis_url, limits=limits, heartbeat_seconds=1)
    quick = running_gateway(settings, timings=timings)
    async with quick as gateway, publisher_to(settings) as publisher:
        yield gateway, publisher


async def subscribe(raw):
    raw.send(frame(TEXT, json.dumps({"type": "subscribe", "channel": "table:orders"}).encode()))
    assert b'"subscribed"' in await raw.text()


async def publish_burst(publisher):
    for _ in range(BURST_KIB // STEP_KIB):
        await publisher.publish(STEP_KIB, pad="x" * KIB)


def slow_consumers():
    return value("realtime_gateway_slow_consumers_total")


async def hear_to_the_end(raw):
    """The ids of the rows that came, the code of the error and that of the close, behind which is nothing."""
    rows: list[int] = []
    error = None
    while True:
        opcode, payload = await raw.frame()
        if opcode == CLOSE:
            assert await raw.reader.read() == b""
            return rows, error, int.from_bytes(payload[:2], "big")
        if opcode == TEXT:
            message = json.loads(payload)
            error = message.get("code")
            rows += [message["data"]["id"]] if error is None else []


async def test_a_client_that_does_not_read_is_closed_and_hears_why_when_it_reads_at_last(strict):
    gateway, publisher = strict
    before = slow_consumers()
    async with gateway.client() as other, raw_socket(gateway, receive_bytes=4_096) as lazy:
        await other.subscribe("table:orders")
        await subscribe(lazy)
        hearing = asyncio.create_task(other.hear_rows(BURST_KIB + 1))
        await publish_burst(publisher)
        await eventually(lambda: slow_consumers() == before + 1)
        async with raw_socket(gateway) as silent:
            assert await silent.close_code() == 4408  # the lazy one has been silent for longer
        rows, error, code = await hear_to_the_end(lazy)
        assert (error, code) == ("slow_consumer", 4413)
        assert rows == list(range(1, len(rows) + 1))
        await publisher.publish()
        assert await hearing == list(range(1, BURST_KIB + 2))


@pytest.mark.parametrize("timings", [Timings(tick_seconds=0.02, parting_seconds=0.1)])
async def test_a_closed_slow_consumer_that_never_reads_is_let_go(strict):
    """Wait until it is closed for being slow, and until the node has no connection any more."""
    gateway, publisher = strict
    before = slow_consumers()
    async with raw_socket(gateway, receive_bytes=4_096) as lazy:
        await subscribe(lazy)
        await publish_burst(publisher)
        await eventually(lambda: slow_consumers() == before + 1)
        await eventually(lambda: is_alone(gateway))


async def is_alone(gateway):
    _, status, _ = await gateway.rest("GET", "/status", token_for())
    return status["connections"] == 0


async def test_a_client_that_reads_slowly_but_steadily_survives_a_burst(database_url, redis_url):
    limits = Limits(max_queue_bytes=64 * KIB, slow_consumer_seconds=2)
    settings = settings_for(database_url, redis_url, limits=limits)
    before = slow_consumers()
    async with (
        running_gateway(settings) as gateway,
        publisher_to(settings) as publisher,
        raw_socket(gateway, receive_bytes=STEP_KIB * KIB) as steady,
    ):
        await subscribe(steady)
        await publish_burst(publisher)
        rows: list[int] = []
        while len(rows) < BURST_KIB:
            rows.append(json.loads(await steady.text())["data"]["id"])
            if len(rows) % STEP_KIB == 0:
                await asyncio.sleep(0.03)  # so slowly does it read
    assert rows == list(range(1, BURST_KIB + 1))
    assert slow_consumers() == before


async def test_a_node_over_its_budget_parts_from_who_does_not_read_however_patient_it_is(
    database_url, redis_url
):
    limits = Limits(max_queue_bytes=KIB, slow_consumer_seconds=3_600)
    settings = settings_for(database_url, redis_url, limits=limits, queue_budget_bytes=1024 * KIB)
    before = slow_consumers()
    async with (
        running_gateway(settings) as gateway,
        publisher_to(settings) as publisher,
        raw_socket(gateway, receive_bytes=4_096) as lazy,
    ):
        await subscribe(lazy)
        await publish_burst(publisher)
        await eventually(lambda: slow_consumers() == before + 1)
        assert (await hear_to_the_end(lazy))[1:] == ("slow_consumer", 4413)
