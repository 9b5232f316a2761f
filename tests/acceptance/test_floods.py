"""Clients that send as fast as they can, twenty of a kind: they are closed, and another client loses nothing.

All kinds come at once. With REALTIME_FLOODS=each they come one after the other, and the delays of the other
client are told for each kind.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest

from realtime.config import Settings, load
from tests.acceptance.conftest import Stage
from tests.acceptance.crowds import Node, node
from tests.acceptance.flooder import FLOODS
from tests.change_stream import Publisher, background, publisher_to
from tests.gateway_fixture import Client, token_for
from tests.limits_fixture import WS_PATH

FLOODERS = 20  # of each kind
SECONDS = 90.0  # for all to be closed, where ten warnings come in ten seconds
INTERVAL_SECONDS = 0.01  # between two changes that the other client hears
TOGETHER = [[kind] for kind in FLOODS] if os.environ.get("REALTIME_FLOODS") == "each" else [list(FLOODS)]


async def flood(gateway: Node, kind: str, token: str) -> dict[str, Any]:
    """What the flooders tell in the end."""
    command = (sys.executable, "-m", "tests.acceptance.flooder", gateway.port, f"{WS_PATH}?token={token}")
    words = [str(word) for word in (*command, kind, FLOODERS, SECONDS)]
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return json.loads(output)


@asynccontextmanager
async def watching(client: Client, publisher: Publisher) -> AsyncIterator[list[float]]:
    """Publish while the block runs; the client must hear all of it in order, and its delays are noted."""
    await client.subscribe("table:orders")
    sent: dict[int, float] = {}
    heard: list[int] = []
    delays: list[float] = []

    async def publish() -> None:
        while True:
            at = time.monotonic()
            (row,) = await publisher.publish()
            sent[row] = at
            await asyncio.sleep(INTERVAL_SECONDS)

    async def hear() -> None:
        while True:
            (row,) = await client.hear_rows(1)
            heard.append(row)
            delays.append(time.monotonic() - sent.get(row, time.monotonic()))

    async with background(asyncio.create_task(hear(), name="hear")):
        async with background(asyncio.create_task(publish(), name="publish")):
            yield delays
        deadline = time.monotonic() + SECONDS
        while len(heard) < publisher.published and time.monotonic() < deadline:
            await asyncio.sleep(INTERVAL_SECONDS)
        assert heard == list(range(1, publisher.published + 1))


def told(delays: list[float]) -> str:
    cuts = statistics.quantiles(delays, n=100)
    return f"p50 {1000 * cuts[49]:.1f} ms, p99 {1000 * cuts[98]:.1f} ms, worst {1000 * max(delays):.1f} ms"


@pytest.mark.parametrize("kinds", TOGETHER, ids="+".join)
@pytest.mark.parametrize("is_let_in", [True, False], ids=["let in", "before authentication"])
async def test_flooders_are_closed_and_another_client_loses_nothing(
    stage: Stage, kinds: list[str], is_let_in: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    settings: Settings = load(stage.config.read_text(), {})
    token, code = (token_for(), 4429) if is_let_in else (token_for("other"), 4401)
    async with (
        node(stage) as gateway,
        publisher_to(settings) as publisher,
        gateway.client() as bystander,
        watching(bystander, publisher) as delays,
    ):
        process = psutil.Process(gateway.program.pid)
        began, used = time.monotonic(), process.cpu_times()
        results = await asyncio.gather(*(flood(gateway, kind, token) for kind in kinds))
        seconds, now = time.monotonic() - began, process.cpu_times()
        cpu = (now.user + now.system - used.user - used.system) / seconds
        mib = sum(result["sent_mib"] for result in results)
        with capsys.disabled():
            sys.stdout.write(
                f"\n{' + '.join(kinds)}: {told(delays)}; "
                f"{seconds:.1f} s, {100 * cpu:.0f} % of a core, {mib:.0f} MiB"
            )
        codes = {kind: set(result["codes"]) for kind, result in zip(kinds, results, strict=True)}
        assert codes == {kind: {code} for kind in kinds}
