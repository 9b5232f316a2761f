"""A client that comes back to much and reads it slowly, or not at all, and what it hears meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.delivery.replay import HistoryReplay
from realtime import names
from realtime.channels import Event
from realtime.settings.config import Limits
from tests.change_stream import Publisher, background, publisher_to
from tests.expressions import value
from tests.gateway_fixture import Gateway, eventually, running_gateway, settings_for, token_for
from tests.raw_socket import TEXT, RawSocket, frame, raw_socket

ROWS, BATCH, PAD = 6_000, 150, "x" * 2_000  # 12 MB: more than the kernel keeps, and dozens of slices
PATIENT = Limits(max_queue_bytes=65_536, slow_consumer_seconds=3_600)


def say(raw: RawSocket, **message: object) -> None:
    raw.send(frame(TEXT, json.dumps(message).encode()))


async def hear(raw: RawSocket) -> dict:
    return json.loads(await raw.text())


class Story:
    """A table with a long history, and a client that knows its beginning."""

    def __init__(self, gateway: Gateway, publisher: Publisher, begin: str) -> None:
        self.gateway = gateway
        self.publisher = publisher
        self.begin = begin

    async def come_back(self, raw: RawSocket, channel: str = "table:orders", **more: object) -> None:
        say(raw, type="subscribe", channel=channel, since=self.begin, **more)
        answer = await hear(raw)
        assert (answer["type"], answer["recovered"], answer["position"]) == ("subscribed", True, self.begin)

    async def publish(self, rows: int) -> None:
        for _ in range(rows // BATCH):
            await self.publisher.publish(BATCH, pad=PAD)


@pytest.fixture
async def story(database_url: str, redis_url: str) -> AsyncIterator[Story]:
    settings = settings_for(database_url, redis_url, limits=PATIENT)
    async with running_gateway(settings) as gateway, publisher_to(settings) as publisher:
        async with gateway.client() as client:
            begin = (await client.subscribe("table:orders"))["position"]
        story = Story(gateway, publisher, begin)
        await story.publish(ROWS)
        yield story


def lazy(story: Story):
    return raw_socket(story.gateway, receive_bytes=4_096)


async def rows_until(raw: RawSocket, wanted: str) -> tuple[list[int], dict]:
    """The rows that come before a message of this type, and that message."""
    rows: list[int] = []
    while (message := await hear(raw))["type"] != wanted:
        assert message["type"] == "realtime", message
        rows.append(message["data"]["id"])
    return rows, message


def slow_consumers() -> float:
    return value("realtime_gateway_slow_consumers_total")


async def test_who_reads_slowly_gets_all_of_it_once_and_then_what_is_live(story):
    async with lazy(story) as raw:
        await story.come_back(raw)
        rows: list[int] = []
        while len(rows) < ROWS + 2 * BATCH:
            rows.append((await hear(raw))["data"]["id"])
            if len(rows) in (1_000, 5_000):
                await story.publish(BATCH)
            if len(rows) % 500 == 0:
                await asyncio.sleep(0.02)  # so slowly does it read
        await story.publisher.publish()
        rows.append((await hear(raw))["data"]["id"])
    assert rows == list(range(1, ROWS + 2 * BATCH + 2))


async def test_a_stream_that_never_stops_is_joined_without_a_hole(story):
    async def publish_on() -> None:
        while True:
            await story.publisher.publish(3, pad=PAD)
            await asyncio.sleep(0)

    async with (
        background(asyncio.create_task(publish_on(), name="stream")),
        raw_socket(story.gateway) as raw,
    ):
        await story.come_back(raw)
        rows = [(await hear(raw))["data"]["id"] for _ in range(ROWS + 2_000)]
    assert rows == list(range(1, ROWS + 2_001))


async def test_what_it_says_meanwhile_is_answered(story):
    async with lazy(story) as raw:
        await story.come_back(raw)
        say(raw, type="ping", ref="p")
        say(raw, type="subscribe", channel="room:a", ref="s")
        say(raw, type="broadcast", channel="room:a", payload=1, ref="b")
        say(raw, type="auth", token=token_for(), ref="a")
        say(raw, type="presence", state={}, ref="i")
        rows: list[int] = []
        answers: dict[str, Any] = {}
        while len(answers) < 6:
            message = await hear(raw)
            if message["type"] == "realtime":
                rows.append(message["data"]["id"])
            else:
                answers[message.get("ref", message["type"])] = message["type"]
        assert answers == {
            "p": "pong",
            "s": "subscribed",
            "b": "ack",
            "broadcast": "broadcast",
            "a": "authenticated",
            "i": "ack",
        }
        assert len(rows) < ROWS / 2
        rows += await rows_of(raw, ROWS - len(rows))
        assert rows == list(range(1, ROWS + 1))


async def rows_of(raw: RawSocket, count: int) -> list[int]:
    return [(await hear(raw))["data"]["id"] for _ in range(count)]


async def test_who_leaves_in_the_middle_gets_nothing_after_the_answer(story):
    async with lazy(story) as raw:
        await story.come_back(raw)
        say(raw, type="unsubscribe", channel="table:orders")
        rows, _ = await rows_until(raw, "unsubscribed")
        assert rows == list(range(1, len(rows) + 1))
        assert len(rows) < ROWS / 2
        await story.publish(BATCH)
        say(raw, type="ping")
        assert (await hear(raw))["type"] == "pong"


async def test_who_comes_back_again_in_the_middle_gets_all_from_there_on(story):
    async with lazy(story) as raw:
        await story.come_back(raw)
        say(raw, type="subscribe", channel="table:orders", since=story.begin, ref=2)
        rows, answer = await rows_until(raw, "subscribed")
        assert (answer["recovered"], answer["ref"]) == (True, 2)
        assert len(rows) < ROWS / 2
        assert await rows_of(raw, ROWS) == list(range(1, ROWS + 1))


async def test_who_subscribes_anew_in_the_middle_hears_what_is_live_from_there_on(story):
    async with lazy(story) as raw:
        await story.come_back(raw)
        say(raw, type="subscribe", channel="table:orders")
        _, answer = await rows_until(raw, "subscribed")
        assert answer["recovered"] is False
        await story.publisher.publish()
        assert await rows_of(raw, 1) == [ROWS + 1]


async def test_several_channels_are_replayed_in_turns_and_each_in_order(story):
    channels = ["table:orders", "table:public.orders", "table:orders:INSERT"]
    async with raw_socket(story.gateway, receive_bytes=65_536) as raw:
        for channel in channels:
            say(raw, type="subscribe", channel=channel, since=story.begin)
        heard: dict[str, list[int]] = {channel: [] for channel in channels}
        switches, last = 0, ""
        for _ in range(len(channels) * (ROWS + 1)):
            message = await hear(raw)
            if message["type"] == "realtime":
                heard[message["channel"]].append(message["data"]["id"])
                switches += last != message["channel"]
                last = message["channel"]
    assert heard == {channel: list(range(1, ROWS + 1)) for channel in channels}
    assert switches > 10


async def test_who_wants_few_of_many_changes_gets_these_and_then_what_is_live(story):
    await story.publisher.publish(3, Event.DELETE)
    async with raw_socket(story.gateway) as raw:
        await story.come_back(raw, "table:orders:DELETE")
        assert await rows_of(raw, 3) == [ROWS + 1, ROWS + 2, ROWS + 3]
        await story.publisher.publish(1, Event.DELETE)
        assert await rows_of(raw, 1) == [ROWS + 4]


async def test_history_that_forgets_what_is_next_is_told_as_resync_and_then_it_is_live(story, store):
    async with lazy(story) as raw:
        await story.come_back(raw)
        await store.call("DEL", names.topic_history("demo", "table:public.orders"))
        rows, resync = await rows_until(raw, "resync")
        assert rows == list(range(1, len(rows) + 1))
        assert len(rows) < ROWS
        assert resync["position"].endswith(f"-{ROWS}")
        await story.publisher.publish(2)
        assert await rows_of(raw, 2) == [ROWS + 1, ROWS + 2]


async def test_an_epoch_that_ends_in_the_middle_is_told_as_resync(story):
    async with lazy(story) as raw:
        await story.come_back(raw)
        topic = "table:public.orders"
        await story.publisher.publications.reset(
            "demo", {topic: (story.publisher._checkpoints[topic], "new")}
        )
        rows, resync = await rows_until(raw, "resync")
        assert rows == list(range(1, len(rows) + 1))
        if not resync["position"].endswith("-0"):  # history was gone before the node knew why
            rows, resync = await rows_until(raw, "resync")
            assert rows == []
        assert resync["position"].endswith("-0")


async def test_redis_that_breaks_off_in_the_middle_loses_nothing(story, store):
    async with lazy(story) as raw:
        await story.come_back(raw)
        rows = await rows_of(raw, 100)
        for kind in ("normal", "pubsub"):
            await store.everywhere("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        rows += await rows_of(raw, ROWS - 100)
        await eventually(story.gateway.is_ready)
        await story.publisher.publish()
        rows += await rows_of(raw, 1)
    assert rows == list(range(1, ROWS + 2))


async def test_a_fault_that_nobody_foresaw_ends_that_connection_alone(database_url, redis_url, monkeypatch):
    settings = settings_for(database_url, redis_url, limits=PATIENT)
    async with (
        running_gateway(settings, expected_errors=1) as gateway,
        publisher_to(settings) as publisher,
        gateway.client() as other,
    ):
        begin = (await other.subscribe("table:orders"))["position"]
        story = Story(gateway, publisher, begin)
        await story.publish(ROWS)
        assert await other.hear_rows(ROWS) == list(range(1, ROWS + 1))
        async with lazy(story) as raw:
            await story.come_back(raw)
            with monkeypatch.context() as broken:
                broken.setattr(HistoryReplay, "step", lambda _: 1 / 0)
                _, error = await rows_until(raw, "error")
            assert error["code"] == "internal"
            assert await raw.close_code() == 1011
        await publisher.publish()
        assert await other.hear_rows(1) == [ROWS + 1]


async def test_history_that_is_not_read_is_waiting_too(database_url, redis_url):
    limits = Limits(slow_consumer_seconds=1)  # and more waits than 1 MiB, of which little is here
    settings = settings_for(database_url, redis_url, limits=limits)
    async with running_gateway(settings) as gateway, publisher_to(settings) as publisher:
        async with gateway.client() as client:
            story = Story(gateway, publisher, (await client.subscribe("table:orders"))["position"])
        await story.publish(ROWS)
        before = slow_consumers()
        async with lazy(story) as raw:
            await story.come_back(raw)
            await eventually(lambda: slow_consumers() == before + 1)
            rows, error = await rows_until(raw, "error")
            assert (error["code"], await raw.close_code()) == ("slow_consumer", 4413)
            assert rows == list(range(1, len(rows) + 1))


async def test_a_little_that_is_not_read_is_nobodys_concern(database_url, redis_url):
    limits = Limits(max_queue_bytes=2**26, slow_consumer_seconds=0.05)
    settings = settings_for(database_url, redis_url, limits=limits)
    async with running_gateway(settings) as gateway, publisher_to(settings) as publisher:
        async with gateway.client() as client:
            story = Story(gateway, publisher, (await client.subscribe("table:orders"))["position"])
        await story.publish(ROWS)
        async with lazy(story) as raw, gateway.client() as other:
            await story.come_back(raw)
            for number in range(20):
                await asyncio.sleep(0.01)  # for as long as a slow one has
                assert (await other.ask(type="ping", ref=number))["ref"] == number
            assert await rows_of(raw, ROWS) == list(range(1, ROWS + 1))
