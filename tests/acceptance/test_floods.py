"""Clients that send as fast as they can, twenty of a kind: they are closed, and another client loses nothing.

All kinds come at once. With REALTIME_FLOODS=each they come one after the other, and the delays of the other
client are told for each kind, also for messages so large that the flooders stay within their rate.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

import psutil
import pytest

from realtime.settings.config import Settings, load
from tests.acceptance.bystander import told, watching
from tests.acceptance.conftest import Stage
from tests.acceptance.crowds import Node, node
from tests.acceptance.flooder import FLOODS, WITHIN_RATE
from tests.change_stream import publisher_to
from tests.gateway_fixture import token_for
from tests.limits_fixture import WS_PATH

FLOODERS = 20  # of each kind
SECONDS = 180.0  # for all to be closed, also where the machine is busy: ten warnings take ten seconds
LARGE_SECONDS = 15.0  # for those that may go on
EACH = os.environ.get("REALTIME_FLOODS") == "each"
TOGETHER = [[kind] for kind in FLOODS] if EACH else [[kind for kind in FLOODS if kind not in WITHIN_RATE]]


async def flood(gateway: Node, kind: str, token: str) -> dict[str, Any]:
    """What the flooders tell in the end."""
    command = (sys.executable, "-m", "tests.acceptance.flooder", gateway.port, f"{WS_PATH}?token={token}")
    seconds = LARGE_SECONDS if kind in WITHIN_RATE else SECONDS
    words = [str(word) for word in (*command, kind, FLOODERS, seconds)]
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return json.loads(output)


@pytest.mark.timeout(2 * SECONDS)
@pytest.mark.parametrize("kinds", TOGETHER, ids="+".join)
@pytest.mark.parametrize("is_let_in", [True, False], ids=["let in", "before authentication"])
async def test_flooders_are_closed_and_another_client_loses_nothing(
    stage: Stage, kinds: list[str], is_let_in: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    settings: Settings = load(stage.config.read_text(), {})
    # Beyond so many refusals a second of an address, that is why the others are refused.
    token, closed = (token_for(), {4429}) if is_let_in else (token_for("other"), {4401, 4429})
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
        for kind, result in zip(kinds, results, strict=True):
            may_go_on = is_let_in and kind in WITHIN_RATE
            assert set(result["codes"]) <= ({*closed, None} if may_go_on else closed), kind
