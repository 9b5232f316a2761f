"""Frames and upgrades that hypothesis makes up, against a gateway process, beside a client that goes on."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import psutil
import pytest

from realtime.settings.config import Settings, load
from tests.acceptance.bystander import told, watching
from tests.acceptance.conftest import Stage
from tests.acceptance.crowds import node
from tests.change_stream import publisher_to
from tests.fuzzing import EXAMPLES, SEED, fuzz_frames, fuzz_upgrades
from tests.gateway_fixture import eventually, token_for

SECONDS = 600  # for all examples on a busy machine


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("fuzz", [fuzz_frames, fuzz_upgrades])
async def test_a_gateway_bears_whatever_comes(
    stage: Stage, fuzz: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.write(project=('allowed_origins = ["http://localhost"]',))
    settings: Settings = load(stage.config.read_text(), {})
    async with (
        node(stage) as gateway,
        publisher_to(settings) as publisher,
        gateway.client() as bystander,
        watching(bystander, publisher) as delays,
    ):
        process = psutil.Process(gateway.program.pid)

        async def connections() -> int:
            return (await gateway.rest("GET", "/status", token_for()))[1]["connections"]

        def sockets() -> int:
            """Connections to the public port, as the kernel has them."""
            return sum(one.laddr.port == gateway.port for one in process.net_connections("tcp"))

        await eventually(connections)
        before = sockets()
        try:
            ends = await asyncio.to_thread(fuzz, gateway.port, token_for(sub="fuzz"), EXAMPLES)
        finally:
            bad = [record for record in gateway.program.log if record["level"] in ("error", "critical")]
            assert not bad, "\n".join(record.get("exception", str(record)) for record in bad)
        with capsys.disabled():
            sys.stdout.write(f"\n{fuzz.__name__}, seed {SEED}: {dict(ends)}; bystander {told(delays)}\n")

        async def is_alone() -> bool:
            return await connections() == 1 and sockets() <= before

        await eventually(is_alone)
        assert gateway.program.status is None
