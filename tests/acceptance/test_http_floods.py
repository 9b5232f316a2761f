"""Floods by HTTP at full speed on 20 connections: the flooders are held back, a bystander loses nothing.

The bystander hears numbered broadcasts of another client on the same gateway all the while. How late they
come is printed, not judged.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from gateway.projects.token_bucket import BURST_SECONDS
from tests.acceptance.conftest import Stage
from tests.acceptance.programs import client_of
from tests.acceptance.served import served
from tests.gateway_fixture import token_for
from tests.limits_fixture import Wire, request, upgrade, wire

CONNECTIONS = 20
SECONDS = 3.0
SAID_EVERY = 0.01
PER_IP, PER_TOKEN, REFUSED_PER_IP = 60, 30, 20  # a second; low enough for any machine to go over them
RATES = (
    f"requests_per_second_per_ip = {PER_IP}",
    f"requests_per_second_per_token = {PER_TOKEN}",
    f"refused_upgrades_per_second_per_ip = {REFUSED_PER_IP}",
)

BEARER = f"Authorization: Bearer {token_for()}"
VALID = request("/projects/demo/realtime/presence", BEARER)
REFUSED = request("/projects/demo/realtime/presence", "Authorization: Bearer nonsense")
UNPARSABLE = b"nonsense\r\n\r\n"
WRONG_UPGRADE = upgrade("/projects/demo/realtime/ws?token=nonsense")

Flooder = Callable[[int, Counter[str]], Awaitable[None]]


def asking(sent: bytes) -> Flooder:
    """Ask again as soon as there is an answer, on a kept connection if it is kept."""

    async def flood(port: int, answers: Counter[str]) -> None:
        async with wire(port) as client:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    await client.say(sent)
                    answers[await status_of(client)] += 1
                    if sent is WRONG_UPGRADE:
                        return

    return flood


async def status_of(client: Wire) -> str:
    head = await client.hear_until(b"\r\n\r\n")
    status = head.split(b" ", 2)[1].decode()
    if status == "101":
        return (await client.hear_until(b'","message"')).rpartition(b'"code":"')[2].split(b'"')[0].decode()
    await client.reader.readexactly(int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]))
    return status


async def half(port: int, answers: Counter[str]) -> None:
    """Send half a second request, and wait until it is ended."""
    async with wire(port) as client:
        await client.say(request("/healthz"))
        await client.hear_until(b'"ok"}')
        await client.say(VALID[:-2])
        await client.hear_to_the_end()
        answers["ended"] += 1


@asynccontextmanager
async def bystander(url: str) -> AsyncIterator[list[float]]:
    """A client that hears what another says, all of it and in order; yields how late it was, in seconds."""
    late: list[float] = []
    count = 0
    async with client_of(url, token_for(sub="bob")) as speaker, client_of(url, token_for()) as hearer:
        await hearer.subscribe("room:flood")

        async def speak() -> None:
            nonlocal count
            while True:
                await speaker.say(type="broadcast", channel="room:flood", payload=[count, time.monotonic()])
                count += 1
                await asyncio.sleep(SAID_EVERY)

        async def hear() -> None:
            while True:
                number, said_at = (await hearer.hear())["payload"]
                assert number == len(late)
                late.append(time.monotonic() - said_at)

        speaking, hearing = (asyncio.create_task(one(), name=one.__name__) for one in (speak, hear))
        try:
            yield late
            speaking.cancel()
            async with asyncio.timeout(30):
                while len(late) < count and not hearing.done():
                    await asyncio.sleep(0.01)
        finally:
            for task in (speaking, hearing):
                task.cancel()
            await asyncio.wait([speaking, hearing])
        assert hearing.cancelled(), hearing.exception()
    assert len(late) == count > 0


async def flood(port: int, flooder: Flooder, seconds: float | None) -> tuple[Counter[str], float]:
    """Flood on all connections, each opened again when it is ended; or once, without a time."""
    answers: Counter[str] = Counter()
    started = time.monotonic()

    async def again() -> None:
        while True:
            await flooder(port, answers)
            if seconds is None:
                return

    with suppress(TimeoutError):
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as tasks:
            for _ in range(CONNECTIONS):
                tasks.create_task(again(), name="flooder")
    return answers, time.monotonic() - started


FLOODS = {
    "valid requests": (asking(VALID), SECONDS, {"200"}, "429", PER_TOKEN),
    "requests with a wrong token": (*(asking(REFUSED), SECONDS, {"401"}, "429", PER_IP),),
    "what is no request": (*(asking(UNPARSABLE), SECONDS, {"400"}, None, REFUSED_PER_IP),),
    "upgrades with a wrong token": (
        *(
            asking(WRONG_UPGRADE),
            SECONDS,
            {"unauthorized"},
            "rate_limited",
            REFUSED_PER_IP,
        ),
    ),
    "half requests": (half, None, {"ended"}, None, CONNECTIONS),
}


@pytest.mark.parametrize(("flooder", "seconds", "through", "over", "rate"), FLOODS.values(), ids=FLOODS)
async def test_a_flood_is_held_back_and_a_bystander_loses_nothing(
    messages: Stage, capsys, request, flooder, seconds, through, over, rate
):
    messages.write(project=("[projects.demo.limits]", *RATES, "[limits]", *RATES))
    async with served(messages) as parts:
        async with bystander(parts.url) as late:
            answers, took = await flood(parts.ports[0], flooder, seconds)
        with capsys.disabled():
            p50, p99 = (sorted(late)[int(len(late) * share)] * 1_000 for share in (0.5, 0.99))
            figures = ", ".join(f"{count} times {answer}" for answer, count in sorted(answers.items()))
            title = request.node.callspec.id
            told = f"{title}: {figures} in {took:.1f} s; {len(late)} messages to a bystander"
            sys.stdout.write(f"\n{told}: p50 {p50:.1f} ms, p99 {p99:.1f} ms\n")
        assert set(answers) == through | ({over} if over else set())
        held_back = CONNECTIONS * (took + 1)  # a second later each, on every connection
        assert sum(answers[one] for one in through) <= rate * (BURST_SECONDS + took) + held_back
        if over:
            assert answers[over] <= held_back
