"""Frames that are no messages: too many are told and closed, few are free, none is read before its time."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import suppress

import pytest

from gateway.presence.connection_log import ConnectionLog
from gateway.session import flood_guard
from gateway.session.timings import SessionTimings
from gateway.timings import Timings
from realtime.settings.config import Limits, Settings
from tests.change_stream import DEADLINE
from tests.expressions import value
from tests.fuzzing import fuzz_frames, fuzz_upgrades
from tests.gateway_fixture import Gateway, eventually, settings_for, token_for
from tests.raw_socket import CLOSE, CONTINUATION, PING, PONG, TEXT, RawSocket, frame, raw_socket

BEGIN = frame(TEXT, b"", final=False)
FLOODS = {
    "pings": (b"", frame(PING, b"x"), "control"),
    "pongs": (b"", frame(PONG, b""), "control"),
    "empty continuations": (BEGIN, frame(CONTINUATION, b"", final=False), "fragment"),
    "beginnings of messages": (b"", BEGIN + frame(CONTINUATION, b""), "fragment"),
}
NETWORK_BYTES = 16_000_000  # more than the kernel keeps of one connection on its way


@pytest.fixture
def settings(database_url: str, redis_url: str) -> Settings:
    return settings_for(database_url, redis_url, limits=Limits(messages_per_second=1))


async def hear_to_the_end(raw: RawSocket) -> tuple[Counter[str], int]:
    """The codes of the errors that a client is told, how often, and the code of the close after them."""
    told: Counter[str] = Counter()
    while True:
        opcode, payload = await raw.frame()
        if opcode == CLOSE:
            return told, int.from_bytes(payload[:2], "big")
        if opcode == TEXT and (message := json.loads(payload))["type"] == "error":
            told[message["code"]] += 1


async def keep_sending(raw: RawSocket, data: bytes) -> None:
    with suppress(ConnectionError):
        while True:
            raw.send(data)
            await raw.writer.drain()
            await asyncio.sleep(0)


def frames_received(kind: str) -> float:
    return value("realtime_gateway_frames_received_total", kind=kind)


async def closed_connections(gateway: Gateway) -> list[tuple[int, str | None]]:
    token = token_for(role="service_role")
    _, answer, _ = await gateway.rest("GET", "/connections?event=disconnect", token)
    return [(one["code"], one["reason"]) for one in answer["connections"]]


@pytest.mark.parametrize("timings", [Timings(session=SessionTimings(warning_seconds=0.4))], ids=["quick"])
@pytest.mark.parametrize("kind", FLOODS)
@pytest.mark.usefixtures("bystander")
async def test_a_flood_of_frames_is_told_and_then_closed(gateway, kind):
    begin, one, counted = FLOODS[kind]
    before = frames_received(counted)
    async with raw_socket(gateway) as raw:
        raw.send(begin)
        flooding = asyncio.create_task(keep_sending(raw, one * 10_000), name="flood")
        try:
            told, code = await hear_to_the_end(raw)
        finally:
            flooding.cancel()
            await asyncio.wait([flooding])
    assert code == 4429
    assert told["rate_limited"] == flood_guard.LAST_WARNING + 1
    assert await eventually(lambda: closed_connections(gateway)) == [(4429, "rate_limited")]
    assert frames_received(counted) - before > 100


async def test_frames_of_a_client_that_is_not_let_in_yet_stay_in_the_network(gateway, monkeypatch):
    """Its admission waits for Redis; empty continuations are what aiohttp reads without end."""
    may_come = asyncio.Event()
    admit = ConnectionLog.admit

    async def wait(*parts) -> None:
        await may_come.wait()
        await admit(*parts)

    monkeypatch.setattr(ConnectionLog, "admit", wait)
    before = frames_received("fragment")
    async with raw_socket(gateway, greeted=False) as raw:
        raw.writer.transport.set_write_buffer_limits(0)
        chunk = BEGIN + frame(CONTINUATION, b"", final=False) * 10_000
        sent = 0
        with suppress(TimeoutError):
            while sent < NETWORK_BYTES:
                raw.send(chunk)
                sent += len(chunk)
                async with asyncio.timeout(1):
                    await raw.writer.drain()
        assert sent < NETWORK_BYTES
        assert frames_received("fragment") == before
        may_come.set()
        assert json.loads(await raw.text())["type"] == "connected"


async def test_a_message_that_is_cut_and_mixed_with_pings_costs_nothing_but_itself(gateway, monkeypatch):
    """At one message a second there are ten other frames a second: enough for pings, and parts of 1 KiB."""
    text = json.dumps({"type": "ping", "pad": "x" * 60_000}).encode()
    parts = [text[start : start + 1_024] for start in range(0, len(text), 1_024)]
    async with raw_socket(gateway) as raw:
        for number, part in enumerate(parts):
            raw.send(frame(CONTINUATION if number else TEXT, part, final=number == len(parts) - 1))
            if number % 6 == 0:
                raw.send(frame(PING, b"%d" % number))
        heard = [await raw.frame() for _ in range(11)]
    assert [payload for opcode, payload in heard[:10]] == [b"%d" % number for number in range(0, 60, 6)]
    assert json.loads(heard[10][1])["type"] == "pong"


async def test_clients_that_are_refused_are_not_listened_to_for_long(gateway):
    async with raw_socket(gateway, token="nonsense", greeted=False) as raw:
        flooding = asyncio.create_task(keep_sending(raw, BEGIN + frame(CONTINUATION, b"") * 10_000))
        try:
            assert await hear_to_the_end(raw) == ({"unauthorized": 1}, 4401)
            with suppress(ConnectionError):
                assert await asyncio.wait_for(raw.reader.read(), DEADLINE) == b""
        finally:
            flooding.cancel()
            await asyncio.wait([flooding])


async def test_no_task_is_left_of_clients_that_break_every_rule(gateway):
    """Wait until there are no more tasks than before."""

    def tasks() -> Counter[str]:
        return Counter(getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks())

    await eventually(gateway.is_ready)
    before = tasks()
    for fuzz in (fuzz_frames, fuzz_upgrades):
        await asyncio.to_thread(fuzz, gateway.port, token_for(), 50)
    await eventually(lambda: tasks() <= before)
