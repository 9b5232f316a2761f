"""How a connection lives and ends: a token that runs out, `auth`, heartbeats."""

from __future__ import annotations

import asyncio
import json

import pytest

from gateway.delivery.timings import DeliveryTimings
from gateway.timings import Timings
from tests.change_stream import background
from tests.gateway_fixture import running_gateway, settings_for, token_for
from tests.ports import free_port
from tests.raw_socket import CLOSE, PING, PONG, TEXT, frame, raw_socket

HEARTBEAT = 1.0


@pytest.fixture
def timings():
    return Timings(tick_seconds=0.02)


@pytest.fixture
async def quick(database_url, redis_url, timings):
    """A gateway whose heart beats fast."""
    settings = settings_for(database_url, redis_url, heartbeat_seconds=HEARTBEAT)
    async with running_gateway(settings, timings=timings) as gateway:
        yield gateway


async def test_a_token_that_runs_out_closes(gateway):
    async with gateway.client(token_for(ttl=0.2)) as client:
        assert await client.is_refused() == ("token_expired", 4401)


async def test_a_token_taken_within_the_leeway_closes_when_the_leeway_ends(gateway):
    async with gateway.client(token_for(ttl=-2)) as client:
        assert await client.is_refused() == ("token_expired", 4401)


async def test_auth_with_a_newer_token_keeps_it_open(gateway):
    async with gateway.client(token_for(ttl=4)) as client, gateway.client(token_for(ttl=4)) as other:
        answer = await client.ask(type="auth", token=token_for(ttl=600), ref=1)
        assert (answer["type"], answer["ref"]) == ("authenticated", 1)
        assert answer["expires_at"] > client.connected["expires_at"]
        assert await other.is_refused() == ("token_expired", 4401)
        assert (await client.ask(type="ping"))["type"] == "pong"


async def test_subscriptions_live_on_over_auth(gateway, publisher):
    async with gateway.client() as client:
        await client.subscribe("table:orders")
        await client.ask(type="auth", token=token_for())
        await publisher.publish()
        assert await client.hear_rows(1) == [1]


async def test_auth_with_an_older_token_counts_too(gateway):
    async with gateway.client() as client:
        assert (await client.ask(type="auth", token=token_for(ttl=0.2)))["type"] == "authenticated"
        assert await client.is_refused() == ("token_expired", 4401)


async def test_a_refused_auth_leaves_the_old_token_in_force_and_its_end_too(gateway):
    async with gateway.client(token_for(ttl=4)) as client:
        for token in [token_for(sub="bob"), token_for("other"), "nonsense"]:
            assert (await client.ask(type="auth", token=token))["code"] == "unauthorized"
        assert (await client.ask(type="ping"))["type"] == "pong"
        assert await client.is_refused() == ("token_expired", 4401)


async def test_a_token_that_runs_out_closes_a_client_that_never_stops_talking(gateway):
    async with raw_socket(gateway, token_for(ttl=0.2)) as raw:

        async def keep_talking() -> None:
            while True:
                raw.send(frame(TEXT, b'{"type":"ping"}') * 100)
                await raw.writer.drain()
                await asyncio.sleep(0)

        talking = asyncio.create_task(keep_talking())
        try:
            heard = [await raw.frame()]
            while heard[-1][0] != CLOSE:
                heard.append(await raw.frame())
        finally:
            talking.cancel()
            await asyncio.wait([talking])
    assert json.loads(heard[-2][1])["code"] == "token_expired"
    assert heard[-1][1] == b"\x11\x31"


async def test_the_server_tells_its_heartbeat_and_pings_by_it(quick):
    async with quick.client() as client:
        assert client.connected["heartbeat_seconds"] == HEARTBEAT
    async with raw_socket(quick) as raw:
        for _ in range(3):
            assert (await raw.frame())[0] == PING
            raw.send(frame(PONG, b""))


async def test_a_client_that_falls_silent_is_closed(quick):
    async with raw_socket(quick) as raw:
        assert await raw.close_code() == 4408


async def test_a_client_that_only_answers_pings_lives_on(quick):
    async with raw_socket(quick) as lively:

        async def answer_pings() -> None:
            while True:
                assert await lively.frame() == (PING, b"")
                lively.send(frame(PONG, b""))

        async with background(asyncio.create_task(answer_pings(), name="answer pings")):
            for _ in range(2):
                async with raw_socket(quick) as silent:
                    assert await silent.close_code() == 4408


@pytest.mark.parametrize(
    "sign", [frame(TEXT, b'{"type":"ping"}'), frame(TEXT, b"rubbish"), frame(PING, b"x")]
)
async def test_any_frame_shows_that_a_client_lives(quick, sign):
    async with raw_socket(quick) as lively, raw_socket(quick) as silent:

        async def show_signs() -> None:
            while True:
                lively.send(sign)
                await asyncio.sleep(HEARTBEAT / 2)

        async with background(asyncio.create_task(show_signs(), name="show signs")):
            assert await silent.close_code() == 4408
            async with raw_socket(quick) as silent:
                assert await silent.close_code() == 4408
        lively.send(frame(TEXT, b'{"type":"ping","ref":"alive"}'))
        opcode, payload = await lively.frame()
        while b"alive" not in payload:
            assert opcode != CLOSE
            opcode, payload = await lively.frame()


async def test_a_client_whose_subscribe_is_held_is_not_silent(database_url):
    timings = Timings(delivery=DeliveryTimings(join_seconds=5 * HEARTBEAT))
    without_redis = f"redis://127.0.0.1:{free_port()}"
    settings = settings_for(database_url, without_redis, heartbeat_seconds=HEARTBEAT)
    async with running_gateway(settings, timings=timings) as lost, lost.client() as client:
        assert (await client.ask(type="subscribe", channel="room:a"))["code"] == "unavailable"
        assert (await client.ask(type="ping"))["type"] == "pong"


async def test_a_close_by_the_client_is_answered(gateway):
    async with raw_socket(gateway) as raw:
        raw.send(frame(CLOSE, b"\x03\xe8bye"))
        assert await raw.close_code() == 1000
        assert await raw.reader.read() == b""


async def test_what_nobody_foresaw_is_internal_and_the_connection_lives_on(settings, monkeypatch):
    async def fail(*_):
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr("gateway.projects.project.Tenant.is_enabled", fail)
    async with running_gateway(settings, expected_errors=1) as gateway, gateway.client() as client:
        assert (await client.ask(type="subscribe", channel="table:orders"))["code"] == "internal"
        assert (await client.ask(type="ping"))["type"] == "pong"
        await client.subscribe("room:a")
