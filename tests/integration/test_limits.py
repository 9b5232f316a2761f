"""What one connection may do: each limit of the settings reached, with the client next to it undisturbed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import pytest

from gateway.session import flood_guard
from gateway.session.timings import SessionTimings
from gateway.timings import DEFAULTS, Timings
from realtime.settings.config import Settings, load
from tests.change_stream import publisher_to, streaming
from tests.expressions import value
from tests.gateway_fixture import Gateway, eventually, running_gateway, token_for
from tests.limits_fixture import toml
from tests.raw_socket import CONTINUATION, TEXT, RawSocket, frame, raw_socket

Limited = Callable[..., AbstractAsyncContextManager[Gateway]]


@pytest.fixture
def limited(postgres_url: str, redis_url: str) -> Limited:
    """Run a gateway with these limits, and a client's stream of changes that nothing may disturb."""

    @asynccontextmanager
    async def run(demo: str = "", common: str = "", timings: Timings = DEFAULTS) -> AsyncIterator[Gateway]:
        settings: Settings = load(toml(postgres_url, redis_url, demo=demo, common=common), {})
        running = running_gateway(settings, timings=timings)
        async with running as gateway, publisher_to(settings) as publisher:
            await eventually(gateway.is_ready)
            async with gateway.client() as bystander, streaming(bystander, publisher):
                yield gateway

    return run


def other_client(gateway: Gateway):
    """A client of the project that has the common limits."""
    return gateway.client(token_for("other"), project="other")


async def test_a_channel_too_many_is_refused_and_the_connection_lives_on(limited):
    async with limited("max_channels_per_connection = 2") as gateway, gateway.client() as client:
        await client.subscribe("room:a")
        await client.subscribe("room:b")
        refused = await client.ask(type="subscribe", channel="room:c", ref=1)
        assert (refused["code"], refused["channel"], refused["ref"]) == ("too_many_channels", "room:c", 1)
        await client.subscribe("room:a")
        await client.ask(type="unsubscribe", channel="room:a")
        await client.subscribe("room:c")


async def test_a_projects_limits_go_before_the_common_ones(limited):
    async with limited(
        demo="max_channels_per_connection = 2", common="max_channels_per_connection = 1"
    ) as gateway:
        async with gateway.client() as client:
            await client.subscribe("room:a")
            await client.subscribe("room:b")
        async with other_client(gateway) as client:
            await client.subscribe("room:a")
            assert (await client.ask(type="subscribe", channel="room:b"))["code"] == "too_many_channels"


async def test_presence_under_a_channel_too_many_is_refused(limited):
    async with limited("max_channels_per_connection = 1") as gateway, gateway.client() as client:
        assert (await client.ask(type="presence", state={}, ref=1))["type"] == "ack"
        refused = await client.ask(type="presence", channel="room:a", state={}, ref=2)
        assert (refused["code"], refused["ref"]) == ("too_many_channels", 2)
        assert (await client.ask(type="presence", state={"again": 1}, ref=3))["type"] == "ack"


# Sizes


def ping_of(size: int, letter: str = "x") -> str:
    """A message of so many bytes."""
    empty = json.dumps({"type": "ping", "pad": ""})
    return empty.replace('""', '"' + letter * ((size - len(empty)) // len(letter.encode())) + '"')


async def test_a_message_of_exactly_the_limit_is_taken(limited):
    async with limited("max_message_bytes = 2000") as gateway, gateway.client() as client:
        assert len(ping_of(2000)) == 2000
        assert (await client.ask_raw(ping_of(2000)))["type"] == "pong"


@pytest.mark.parametrize("size", [2001, 100_000])
async def test_a_message_over_the_limit_closes_its_connection(limited, size):
    async with limited("max_message_bytes = 2000") as gateway, gateway.client() as client:
        await client.web_socket.send_str(ping_of(size))
        assert await client.hear_close() == 1009
        assert await eventually(lambda: closes_of(gateway, None)) == [1009]


async def test_a_huge_message_is_refused_by_its_head_before_it_is_sent(limited):
    async with limited("max_message_bytes = 2000") as gateway, raw_socket(gateway) as client:
        client.send(frame(TEXT, b"x" * 100_000)[:100])
        assert await client.close_code() == 1009


async def test_the_limit_of_a_message_counts_bytes_and_not_characters(limited):
    async with limited("max_message_bytes = 2000") as gateway, gateway.client() as client:
        assert (await client.ask_raw(ping_of(1999, "é")))["type"] == "pong"
        await client.web_socket.send_str(ping_of(2019, "é"))
        assert await client.hear_close() == 1009


async def test_a_message_in_pieces_counts_as_one(limited):
    pieces = ping_of(2001).encode()
    async with limited("max_message_bytes = 2000") as gateway, raw_socket(gateway) as client:
        client.send(frame(TEXT, pieces[:1500], final=False))
        client.send(frame(CONTINUATION, pieces[1500:]))
        assert await client.close_code() == 1009


async def test_the_limit_of_a_message_is_64_kib_unless_the_settings_say_more(limited):
    async with limited("max_message_bytes = 2000") as gateway, other_client(gateway) as client:
        assert (await client.ask_raw(ping_of(65_536)))["type"] == "pong"
        await client.web_socket.send_str(ping_of(65_537))
        assert await client.hear_close() == 1009


async def test_a_broadcast_by_rest_has_the_limit_of_a_message(limited):
    async with limited("max_message_bytes = 2000") as gateway:
        for size, expected in [(1998, 202), (1999, 413)]:
            body = {"channel": "room:a", "payload": "x" * size}
            status, _, _ = await gateway.rest("POST", "/broadcast", token_for(role="service_role"), json=body)
            assert status == expected


async def test_a_state_over_the_limit_is_refused_and_the_one_before_stays(limited):
    async with limited("max_state_bytes = 100") as gateway, gateway.client() as client:
        largest = {"pad": "x" * (100 - len('{"pad": ""}'))}
        assert len(json.dumps(largest)) == 100
        assert (await client.ask(type="presence", state=largest, ref=1))["type"] == "ack"
        refused = await client.ask(type="presence", state={"pad": largest["pad"] + "x"}, ref=2)
        assert (refused["code"], refused["ref"]) == ("message_too_big", 2)
        _, answer, _ = await gateway.rest("GET", "/presence", token_for())
        assert [entry["state"] for entry in answer["presences"]] == [largest]


# Speed


SLOW = "max_queue_bytes = 262144\nslow_consumer_seconds = 0.3\nmessages_per_second = 100000"


async def test_a_client_that_does_not_read_is_closed_as_a_slow_consumer(limited):
    before = slow_consumers()
    async with limited(SLOW) as gateway, raw_socket(gateway, receive_bytes=4096) as stalled:
        stalled.send(frame(TEXT, b'{"type":"subscribe","channel":"room:flood"}'))
        assert b'"subscribed"' in (await stalled.frame())[1]
        async with gateway.client() as reader, gateway.client() as writer:
            await reader.subscribe("room:flood")
            for number in range(200):
                answer = await writer.ask(
                    type="broadcast", channel="room:flood", payload=f"{number}{'x' * 60_000}", ref=number
                )
                assert answer["type"] == "ack"
                assert (await reader.hear())["payload"].startswith(f"{number}x")
            await eventually(lambda: slow_consumers() > before)
        assert await last_words(stalled) == ("slow_consumer", 4413)
        assert await eventually(lambda: closes_of(gateway, "slow_consumer")) == [4413]


async def last_words(client: RawSocket) -> tuple[str, int]:
    """The code of the error that a client finds at last, and that of the close after it."""
    while (message := json.loads((await client.frame())[1]))["type"] != "error":
        pass
    return message["code"], await client.close_code()


def slow_consumers() -> float:
    """How many clients this process has parted from so far."""
    return value("realtime_gateway_slow_consumers_total")


async def closes_of(gateway: Gateway, reason: str | None) -> list[int]:
    """The codes with which connections ended for a reason, as the connection history has them."""
    _, answer, _ = await gateway.rest("GET", "/connections?event=disconnect", token_for(role="service_role"))
    return [one["code"] for one in answer["connections"] if one["reason"] == reason]


async def test_two_seconds_worth_of_messages_may_come_at_once(limited):
    async with limited("messages_per_second = 20") as gateway, gateway.client() as client:
        for number in range(40):
            await client.say(type="ping", ref=number)
        assert [(await client.hear())["ref"] for _ in range(40)] == list(range(40))


async def test_messages_over_the_rate_are_dropped_with_one_error(limited):
    async with limited("messages_per_second = 0.01") as gateway, gateway.client() as client:
        assert (await client.ask(type="ping"))["type"] == "pong"
        for _ in range(20):
            await client.say(type="ping")
        refused = await client.hear()
        assert (refused["type"], refused["code"]) == ("error", "rate_limited")


async def test_a_client_that_goes_on_beyond_its_rate_is_closed(limited):
    timings = Timings(session=SessionTimings(warning_seconds=0.4))  # twice that without a message is quiet
    async with limited("messages_per_second = 0.01", timings=timings) as gateway, gateway.client() as client:
        heard = []

        async def flood() -> None:
            with suppress(ConnectionError):  # closed between two words
                while not client.web_socket.closed:
                    await client.say(type="ping")
                    await asyncio.sleep(0.005)

        flooding = asyncio.create_task(flood(), name="flood")
        try:
            for _ in range(1 + flood_guard.LAST_WARNING + 1):
                heard.append(await client.hear())
            assert await client.hear_close() == 4429
        finally:
            flooding.cancel()
            await asyncio.wait([flooding])
        assert heard[0]["type"] == "pong"
        assert [one["code"] for one in heard[1:]] == ["rate_limited"] * 11
        assert await eventually(lambda: closes_of(gateway, "rate_limited")) == [4429]
