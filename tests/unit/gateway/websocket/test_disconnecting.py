"""How many connections of one user are closed between two turns of the node's other clients."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.websocket.disconnecting import Disconnecting
from gateway.websocket.timings import WebSocketTimings


class Client:
    """A connection with so many channels, which is noted when it is closed."""

    is_ending = False

    def __init__(self, closed: list[Client], channels: int) -> None:
        self._closed = closed
        self.session = SimpleNamespace(connection_id="1", channels=dict.fromkeys(range(channels)))

    def close(self, *_: object) -> None:
        self._closed.append(self)


@pytest.mark.parametrize(("channels", "most"), [(0, 100), (1, 100), (100, 20), (5_000, 1)])
async def test_fewer_are_closed_at_once_the_more_channels_they_have(channels: int, most: int) -> None:
    closed: list[Client] = []
    crowd: list[Any] = [Client(closed, channels) for _ in range(250)]
    disconnecting = Disconnecting(WebSocketTimings(close_batch_seconds=0))
    assert disconnecting.add(crowd, reconnect=False) == 250
    running = asyncio.create_task(disconnecting.run())
    batches = []
    while len(closed) < 250:
        before = len(closed)
        await asyncio.sleep(0)
        batches.append(len(closed) - before)
    running.cancel()
    assert max(batches) == most
