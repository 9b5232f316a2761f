"""What it costs to ask about many clients with many channels: nothing for each channel, and no long turn."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.fleet.messages import AskClients
from gateway.websocket.local_clients import LocalClients


class Client:
    """A connection with so many channels; `looks` counts how often somebody added their messages up."""

    looks = 0

    def __init__(self, number: int) -> None:
        self.session = SimpleNamespace(
            project_id="demo",
            connection_id=f"{number:020x}",
            channels={f"room:{each}": None for each in range(100)},
            identity=SimpleNamespace(user_id="ann", role="authenticated", expires_at=0.0),
        )
        self.send_queue = SimpleNamespace(
            waiting_bytes=1, written_bytes=2, errors=0, messages=5, left_messages=3
        )
        self.messages_in = 1

    @property
    def messages_out(self) -> int:
        Client.looks += 1
        return 7


class Crowd(list[Client]):
    """`Connections` of one node."""

    node = SimpleNamespace(started_at="2026-01-01T00:00:00Z")
    draining = False

    def record_of(self, client: Client) -> Any:
        return SimpleNamespace(ip="127.0.0.1", user_agent="test", connected_at=0.0)


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> LocalClients:
    monkeypatch.setattr(Client, "looks", 0)
    crowd: Any = Crowd(Client(number) for number in range(500))
    return LocalClients(crowd, {}, Any)  # type: ignore[arg-type]


async def test_figures_look_at_no_channel_of_a_client(clients):
    stats = await clients.stats("demo", 100, 1_000)
    assert (stats.connections, stats.subscriptions, stats.messages_out) == (500, 50_000, 2_000)
    assert Client.looks == 0


async def test_a_long_page_lets_others_have_their_turn(clients):
    most = 0

    async def other() -> None:
        nonlocal most
        while True:
            before = Client.looks
            await asyncio.sleep(0)
            most = max(most, Client.looks - before)

    beside = asyncio.create_task(other())
    page = await clients.page("demo", AskClients(after="", limit=400, max_bytes=1_000_000))
    beside.cancel()
    assert (len(page.clients), Client.looks) == (400, 400)
    assert 0 < most <= 20
