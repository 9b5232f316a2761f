"""What is counted, without a network: of a delivery, of what fails, of what is there now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway import metrics as gateway_metrics
from gateway.delivery.fanout import Fanout
from gateway.hub.hub import Delivery, Hub, deliver
from gateway.hub.subscribers import subscription
from gateway.publish.batcher import Batcher
from gateway.timestamps import rfc3339
from gateway.websocket import gauges
from gateway.wire.batch import Batch
from gateway.wire.native import NativeCodec
from gateway.wire.queue_writer import QueueWriter
from gateway.wire.send_queue import SendQueue
from notifier import metrics as notifier_metrics
from notifier.feed.feed_settings import FeedSettings
from notifier.feed.publisher import Publisher
from notifier.feed.timings import FeedTimings
from realtime.channels import parse_channel
from realtime.errors import Unavailable
from realtime.publications import Publication, Sender, broadcast_line
from realtime.redis.history import History
from realtime.settings.config import Limits, Project
from tests.expressions import series_of, value
from tests.hub_fixture import NATIVE, line

PROJECT = "counted"


class Inbox:
    """A send queue that keeps what it is sent."""

    def __init__(self, connection_id: str = "") -> None:
        self.connection_id = connection_id
        self.sent: list[list[bytes]] = []

    def deliver(self, batch: Batch) -> None:
        assert batch.size == sum(map(len, batch.pieces))
        self.sent.append(batch.pieces)


def at_once() -> Fanout:
    """A fan-out whose deliveries are written in the next turn of the loop."""

    def after_write(call: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(call)

    return Fanout(after_write)


async def grown(deliveries: list[Any], *names: str, **labels: str) -> list[float]:
    """By how much these grow while something is delivered, and in the turn of the loop after that."""
    before = [value(name, **labels) for name in names]
    at_once().deliver(deliveries)
    await asyncio.sleep(0)
    return [value(name, **labels) - old for name, old in zip(names, before, strict=True)]


def published(name: str, lines: list[bytes], *inboxes: Inbox) -> list[Delivery[Any]]:
    """What is delivered of these lines to the subscribers of a channel."""
    topic = Hub[Any]().open((PROJECT, parse_channel(name).topic))
    for inbox in inboxes:
        topic.subscribers.add(subscription(inbox, parse_channel(name), inbox.connection_id, NATIVE))
    return deliver(topic, Publication("e", 1, lines))


# Deliveries


async def test_a_publication_counts_once_its_deliveries_and_messages_for_each_subscriber():
    inboxes = [Inbox() for _ in range(3)]
    assert await grown(
        published("table:users", [line(), line()], *inboxes),
        "realtime_gateway_deliveries_total",
        "realtime_gateway_messages_sent_total",
        "realtime_gateway_fanout_seconds_count",
    ) == [3, 6, 1]
    assert all(len(one.sent) == 1 for one in inboxes)


async def test_several_audiences_of_a_publication_are_one_fan_out():
    deliveries = [
        delivery
        for name in ("table:users", "table:public.users")
        for delivery in published(name, [line()], Inbox())
    ]
    names = ("realtime_gateway_fanout_seconds_count", "realtime_gateway_deliveries_total")
    assert await grown(deliveries, *names) == [1, 2]


async def test_publications_that_come_in_one_go_are_one_fan_out():
    fanout, count = at_once(), "realtime_gateway_fanout_seconds_count"
    faults: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
    before = value(count)
    for _ in range(2):
        for _ in range(3):
            fanout.deliver(published("table:users", [line()], Inbox()))
        await asyncio.sleep(0)
    assert (value(count), faults) == (before + 2, [])


async def test_what_a_sender_does_not_hear_is_not_counted_as_sent_to_it():
    said = broadcast_line(b"1", Sender("ann", None), rfc3339(time.time()), to_self=False)
    ann, bob = Inbox("ann"), Inbox("bob")
    deliveries = published("room:1", [said], ann, bob)
    assert await grown(deliveries, "realtime_gateway_messages_sent_total") == [1]
    assert (len(ann.sent), len(bob.sent)) == (0, 1)


async def test_nothing_is_measured_where_nobody_listens():
    assert await grown([], "realtime_gateway_fanout_seconds_count") == [0]


@pytest.mark.parametrize("kind", gateway_metrics.KINDS)
async def test_the_age_of_what_is_delivered_is_that_of_its_last_message(kind):
    sender = Sender(None, None)
    old, new = (broadcast_line(b"1", sender, rfc3339(time.time() - age), True) for age in (1_000, 100))
    if kind == "change":
        old, new = (b'I"data":{},"old":null,"commit_' + one[one.index(b"timestamp") :] for one in (old, new))
    deliveries = published("table:users" if kind == "change" else "room:1", [old, new], Inbox())
    name = "realtime_gateway_delivery_age_seconds"
    count, age = await grown(deliveries, f"{name}_count", f"{name}_sum", kind=kind)
    assert (count, age) == (1, pytest.approx(100, abs=20))


async def test_a_clock_that_is_behind_makes_no_age_below_zero():
    ahead = broadcast_line(b"1", Sender(None, None), rfc3339(time.time() + 1_000), to_self=True)
    deliveries = published("room:1", [ahead], Inbox())
    name = "realtime_gateway_delivery_age_seconds"
    assert await grown(deliveries, f"{name}_count", f"{name}_sum", kind="broadcast") == [1, 0]


@pytest.mark.parametrize("at", ["None", "infinity", "12026-01-01T00:00:00.000000Z"])
async def test_what_a_superuser_wrote_at_no_time_of_ours_has_no_age_and_is_no_fault(at):
    faults: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
    told = b'I"data":{},"old":null,"commit_timestamp":"%b"' % at.encode()
    names = ("realtime_gateway_deliveries_total", "realtime_gateway_delivery_age_seconds_count")
    assert await grown(published("table:users", [told], Inbox()), names[0]) == [1]
    assert await grown(published("table:users", [told], Inbox()), names[1], kind="change") == [0]
    assert faults == []


async def test_presence_has_no_age():
    delivery = Delivery([Inbox()], [b"\x81\x00"], 1)
    for kind in gateway_metrics.KINDS:
        assert await grown([delivery], "realtime_gateway_delivery_age_seconds_count", kind=kind) == [0]


async def test_the_age_is_measured_whatever_else_is_told_in_that_turn():
    fanout, count = at_once(), "realtime_gateway_delivery_age_seconds_count"
    before = value(count, kind="change")
    fanout.deliver(published("table:users", [line()], Inbox()))
    fanout.deliver([Delivery([cast(Any, Inbox())], [b"\x81\x00"], 1)])
    await asyncio.sleep(0)
    assert value(count, kind="change") == before + 1


async def test_what_was_written_for_a_client_is_counted_when_it_goes_if_not_before():
    transport: Any = SimpleNamespace(
        is_closing=lambda: False, get_write_buffer_size=lambda: 0, write=lambda data: None
    )
    pump = QueueWriter()
    socket = SendQueue(transport, "ann", Limits(), pump, NativeCodec())
    before = value("realtime_gateway_bytes_sent_total")
    socket.send([b"12345"])
    await asyncio.sleep(0)
    assert value("realtime_gateway_bytes_sent_total") == before
    pump.forget(socket)
    assert value("realtime_gateway_bytes_sent_total") == before + 5
    assert socket.count() == 0


# What fails


async def test_every_round_trip_that_redis_does_not_carry_out_is_counted_once():
    async def send(items):
        raise Unavailable("Redis is away")

    gatherer: Batcher[int] = Batcher(lambda items: partial(send, items))
    futures = [gatherer.put(number) for number in range(3)]
    before = value("realtime_gateway_redis_failures_total")
    running = asyncio.create_task(gatherer.run())
    await asyncio.wait(futures)
    running.cancel()
    assert value("realtime_gateway_redis_failures_total") == before + 1


async def test_a_publisher_counts_the_tries_that_redis_did_not_take():
    answers = iter([Unavailable("away"), Unavailable("away"), 5])

    async def publish(*batch):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def chunks():
        yield []

    project = Project(database_url="postgresql://nobody@127.0.0.1/none", jwt_secret="x" * 32)
    feed: Any = SimpleNamespace(chunks=chunks, token="1", left_out=0)
    settings = FeedSettings(PROJECT, project, History(1, 1), 1.0)
    publications: Any = SimpleNamespace(publish=publish)
    timings = FeedTimings(first_retry_seconds=0)
    publisher = Publisher(settings, feed, publications, lambda reason: None, timings)
    assert await publisher.publish_batch() == 5
    assert value("realtime_notifier_redis_failures_total", project=PROJECT) == 2
    assert value("realtime_notifier_changes_total", project=PROJECT) == 5
    notifier_metrics.remove_project(PROJECT)


# What is there now


def connection(project: str, channels: int, presences: int, waiting: int) -> Any:
    session = SimpleNamespace(
        project_id=project, channels=dict.fromkeys(range(channels)), presences=dict.fromkeys(range(presences))
    )
    return SimpleNamespace(session=session, send_queue=SimpleNamespace(count=lambda: waiting))


def test_figures_are_added_up_by_project():
    people = [connection("a", 2, 1, 10), connection("a", 3, 0, 500), connection("b", 1, 1, 0)]
    sent = value("realtime_gateway_bytes_sent_total")
    gauges.measure(["a", "b", "quiet"], people, [("a", "table:x"), ("a", "table:y"), ("b", "table:x")])
    for project, expected in {"a": (5, 1, 2), "b": (1, 1, 1), "quiet": (0, 0, 0)}.items():
        names = [f"realtime_gateway_{one}" for one in ("subscriptions", "presences", "topics")]
        assert tuple(value(name, project=project) for name in names) == expected
        gateway_metrics.remove_project(project)
    assert value("realtime_gateway_bytes_sent_total") == sent + 510


def test_clients_of_a_project_that_is_served_no_more_make_no_series():
    gauges.measure([], [connection(PROJECT, 1, 1, 7)], [(PROJECT, "table:x")])
    assert series_of(PROJECT) == set()
