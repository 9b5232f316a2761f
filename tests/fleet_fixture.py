"""Two gateways on one Redis, and what their clients were told of who is there.

`tests/conftest.py` names it as a plugin. `here` and `there` are the nodes; clients are put on either.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.timings import Timings
from realtime.settings.config import Settings
from tests.change_stream import DEADLINE
from tests.condition import Condition
from tests.gateway_fixture import Client, Gateway, eventually, running_gateway, token_for

SERVICE = token_for(sub=None, role="service_role")


@pytest.fixture
async def here(settings: Settings, timings: Timings) -> AsyncIterator[Gateway]:
    async with running_gateway(settings, timings=timings) as gateway:
        await eventually(gateway.is_ready)
        yield gateway


@pytest.fixture
async def there(settings: Settings, here: Gateway) -> AsyncIterator[Gateway]:
    async with running_gateway(settings) as gateway:
        await eventually(gateway.is_ready)
        yield gateway


@dataclass
class Crowd:
    """Who is present under a channel, as one subscriber was told it.

    Fails on what cannot be: a join of somebody who is there, a leave of somebody who is not.
    """

    client: Client
    channel: str
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)  # by connection id
    told: list[tuple[str, str]] = field(default_factory=list)  # event and connection id, in order
    messages: int = 0
    in_sync: bool = False  # the last part of the last `sync` has come
    _parts: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def ids(self) -> set[str]:
        return set(self.entries)

    def times(self, event: str) -> Counter[str]:
        """How often each connection was told of with this event."""
        return Counter(one for kind, one in self.told if kind == event)

    async def becomes(self, true: Condition) -> None:
        """Listen until it is so."""
        while not true():
            self.hear(await self.client.hear())

    async def is_in_sync(self) -> Crowd:
        await self.becomes(lambda: self.in_sync)
        return self

    async def is_up_to_date(self) -> None:
        """Listen to all that was sent before now."""
        await self.client.say(type="ping", ref="up to date")
        while (message := await self.client.hear())["type"] != "pong":
            self.hear(message)

    def hear(self, message: dict[str, Any]) -> None:
        assert (message["type"], message["channel"]) == ("presence", self.channel), message
        self.messages += 1
        entries = {entry["connection_id"]: entry for entry in message["presences"]}
        assert len(entries) == len(message["presences"]), "somebody is twice in one message"
        event = message["event"]
        if event == "sync":
            assert not entries.keys() & self._parts.keys(), "somebody is in two parts"
            self._parts |= entries
            if not message["more"]:
                self.entries, self._parts, self.in_sync = self._parts, {}, True
            return
        assert entries
        assert "more" not in message
        self.told += [(event, one) for one in entries]
        there = set(entries) & self.ids
        assert there == (set() if event == "join" else set(entries)), f"{event} of {message['presences']}"
        if event == "leave":
            for one in entries:
                del self.entries[one]
        else:
            self.entries |= entries


async def crowd(client: Client, channel: str = "presence") -> Crowd:
    """Subscribe to a presence channel and get to know who is there."""
    await client.subscribe(channel)
    return await Crowd(client, channel).is_in_sync()


async def present(
    gateway: Gateway, channel: str | None = None, project: str = "demo"
) -> list[dict[str, Any]]:
    """What `GET /presence` answers."""
    params = {} if channel is None else {"channel": channel}
    token = token_for(project, sub="reader")
    status, answer, _ = await gateway.rest("GET", "/presence", token, project=project, params=params)
    assert (status, answer["count"]) == (200, len(answer["presences"]))
    entries: list[dict[str, Any]] = answer["presences"]
    return entries


async def history(gateway: Gateway, project: str = "demo", **params: Any) -> dict[str, Any]:
    """What `GET /connections` answers."""
    token = token_for(project, sub=None, role="service_role")
    status, answer, _ = await gateway.rest("GET", "/connections", token, project=project, params=params)
    assert status == 200, answer
    page: dict[str, Any] = answer
    return page


async def end_of(gateway: Gateway, connection_id: str) -> dict[str, Any]:
    """Wait until the connection history tells how a connection ended."""

    async def recorded() -> list[dict[str, Any]]:
        events = (await history(gateway, event="disconnect", limit=1000))["connections"]
        return [event for event in events if event["connection_id"] == connection_id]

    (event,) = await eventually(recorded)
    found: dict[str, Any] = event
    return found


async def send_broadcasts(gateway: Gateway, token: str = SERVICE, **body: Any) -> tuple[int, Any]:
    """`POST /broadcast`; returns status and answer."""
    status, answer, _ = await gateway.rest("POST", "/broadcast", token, json=body)
    return status, answer


async def hear_text(client: Client) -> str:
    """The next message as it came."""
    frame = await client.web_socket.receive_str(timeout=DEADLINE)
    assert json.loads(frame)
    return frame
