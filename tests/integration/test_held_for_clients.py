"""What a node holds of clients that send while Redis takes nothing counts, and is gone when it answers."""

from __future__ import annotations

import json

import pytest

from tests.expressions import value
from tests.gateway_fixture import eventually
from tests.raw_socket import TEXT, frame, raw_socket

pytestmark = pytest.mark.standalone  # pauses one server

MESSAGES, PAYLOAD = 8, "x" * 30_000
PAUSE_MS = 60_000


def held() -> float:
    return value("realtime_gateway_queue_bytes")


async def test_what_clients_sent_and_redis_does_not_take_counts(gateway, store):
    async with raw_socket(gateway) as raw:
        await eventually(gateway.is_ready)
        await eventually(lambda: held() == 0)
        await store.everywhere("CLIENT", "PAUSE", PAUSE_MS, "WRITE")
        try:
            for number in range(MESSAGES):
                said = {"type": "broadcast", "channel": "room:a", "payload": PAYLOAD, "ref": number}
                raw.send(frame(TEXT, json.dumps(said).encode()))
                # One is on its way to Redis, some wait for it here, and the rest in the network.
            await eventually(lambda: held() > 2 * len(PAYLOAD))
        finally:
            await store.everywhere("CLIENT", "UNPAUSE")
        assert [json.loads(await raw.text()).get("ref") for _ in range(MESSAGES)] == list(range(MESSAGES))
        await eventually(lambda: held() == 0)
