"""What Prometheus reads of a gateway and a notifier while they work: it parses, and rises by what happened.

Both run in this process and so count into one registry; what is compared is by how much it grew.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.http.routes import ENDPOINTS
from gateway.timings import Timings
from gateway.websocket.timings import WebSocketTimings
from notifier import app as notifier_app
from realtime.settings.config import Settings
from tests.change_stream import DEADLINE, background
from tests.expressions import series
from tests.gateway_fixture import Client, Gateway, eventually, running_gateway, token_for
from tests.notifier_fixture import PROJECT, enable, insert, project_at, session
from tests.ports import free_port
from tests.raw_socket import TEXT, frame, raw_socket

GATEWAY, NOTIFIER = "realtime_gateway_", "realtime_notifier_"
PINGS_BYTES = 100  # of heartbeats, which may come at any time
OPENMETRICS = "application/openmetrics-text; version=1.0.0"

Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]  # by name and labels


@dataclass
class Service:
    """A gateway and a notifier, and what their metrics were at the beginning."""

    gateway: Gateway
    notifier_port: int
    before: Figures = field(default_factory=dict)

    async def scrape(self, port: int | None, **more: Any) -> tuple[Figures, str]:
        """What is read from an internal port, and its content type."""
        url = f"http://127.0.0.1:{port}/metrics"
        async with self.gateway.http.get(url, **more) as response:
            assert response.status == 200
            families = text_string_to_metric_families(await response.text())
            found = [sample for family in families for sample in family.samples]
            keys = [(sample.name, frozenset(sample.labels.items())) for sample in found]
            assert len(set(keys)) == len(keys)
            figures = {key: sample.value for key, sample in zip(keys, found, strict=True)}
            return figures, response.content_type

    async def now(self, name: str, **labels: str) -> float | None:
        """None where there is no such series."""
        port = self.notifier_port if name.startswith(NOTIFIER) else self.gateway.internal_port
        return (await self.scrape(port))[0].get((name, frozenset(labels.items())))

    async def grown(self, name: str, **labels: str) -> float:
        now = await self.now(name, **labels)
        assert now is not None, f"there is no {name} with {labels}"
        return now - self.before.get((name, frozenset(labels.items())), 0.0)

    async def grows(self, expected: float, name: str, **labels: str) -> None:
        """Wait until it has grown so much, where it is counted after others could see what is counted."""

        async def is_so() -> bool:
            return await self.grown(name, **labels) == expected

        await eventually(is_so)

    async def notifier_answers(self) -> bool:
        try:
            return bool(await self.scrape(self.notifier_port))
        except aiohttp.ClientConnectionError:
            return False

    async def becomes(self, expected: float | None, name: str, **labels: str) -> None:
        async def is_so() -> bool:
            return await self.now(name, **labels) == expected

        await eventually(is_so)


@pytest.fixture
async def service(database_url: str, redis_url: str) -> AsyncIterator[Service]:
    """With table `orders` enabled, and everybody at work."""
    quick = Timings(websocket=WebSocketTimings(measure_seconds=0.02))
    await enable(database_url)
    settings = Settings(redis_url=redis_url, drain_seconds=0, projects={PROJECT: project_at(database_url)})
    running = running_gateway(settings, internal=True, timings=quick)
    async with running as gateway, notifying(settings) as port:
        await eventually(gateway.is_ready)
        service = Service(gateway, port)
        await eventually(service.notifier_answers)
        await service.becomes(1, "realtime_notifier_live", project=PROJECT)
        service.before, _ = await service.scrape(port)
        yield service


@asynccontextmanager
async def notifying(settings: Settings) -> AsyncIterator[int]:
    port = free_port()
    run = notifier_app.run(settings, "127.0.0.1", port)
    async with background(asyncio.create_task(run, name="notifier")):
        yield port


class Counting:
    """A client that adds up what it says and hears."""

    def __init__(self, client: Client) -> None:
        self._web_socket = client.web_socket
        self.said_bytes: list[int] = []  # of each message
        self.heard_bytes: list[int] = []  # of each frame

    async def ask(self, /, **message: Any) -> dict[str, Any]:
        text = json.dumps(message, ensure_ascii=False)
        self.said_bytes.append(len(text.encode()))
        await self._web_socket.send_str(text)
        return await self.hear()

    async def hear(self) -> dict[str, Any]:
        text = (await self._web_socket.receive(DEADLINE)).data
        size = len(text.encode())
        self.heard_bytes.append(size + (2 if size < 126 else 4))
        return json.loads(text)


@asynccontextmanager
async def counting(gateway: Gateway) -> AsyncIterator[Counting]:
    async with gateway.socket(token=token_for()) as client:
        one = Counting(client)
        assert (await one.hear())["type"] == "connected"
        yield one


async def test_both_are_read_as_text_and_have_every_series_of_their_own(service):
    await service.becomes(0, "realtime_notifier_pending_changes", project=PROJECT)  # looked at every second
    for port, prefix in ((service.gateway.internal_port, GATEWAY), (service.notifier_port, NOTIFIER)):
        figures, content_type = await service.scrape(port, headers={"Accept": OPENMETRICS})
        assert content_type == "text/plain"  # whatever else is asked for
        expected = {name for name in series() if name.startswith(prefix)}
        names = {name for name, _ in figures}
        assert expected <= names
        assert not any(name.endswith("_created") for name in names if name.startswith(prefix))


async def test_messages_and_bytes_are_counted_as_clients_say_and_hear_them(service, database_url):
    async with (
        counting(service.gateway) as ann,
        counting(service.gateway) as bob,
        session(database_url) as sql,
    ):
        for one in (ann, bob):
            await one.ask(type="subscribe", channel="table:orders")
            await one.ask(type="subscribe", channel="room:ü")
        for number in (1, 2, 3):
            await insert(sql, number)
            assert [(await one.hear())["data"]["id"] for one in (ann, bob)] == [number] * 2
        await ann.ask(type="broadcast", channel="room:ü", payload="häh?", self=False, ref=1)
        assert (await bob.hear())["payload"] == "häh?"
        said, heard = ann.said_bytes + bob.said_bytes, ann.heard_bytes + bob.heard_bytes
        assert await service.grown("realtime_gateway_messages_received_total") == len(said) == 5
        assert await service.grown("realtime_gateway_bytes_received_total") == sum(said)
        assert await service.grown("realtime_gateway_messages_sent_total") == len(heard) == 14

        async def bytes_are_there() -> bool:
            return 0 <= await service.grown("realtime_gateway_bytes_sent_total") - sum(heard) <= PINGS_BYTES

        await eventually(bytes_are_there)


async def test_a_change_is_counted_from_the_notifier_to_its_subscribers(service, database_url):
    async with (
        service.gateway.client() as ann,
        service.gateway.client() as bob,
        session(database_url) as sql,
    ):
        for client in (ann, bob):
            await client.subscribe("table:orders")
        for number in (1, 2, 3):
            await insert(sql, number)
            assert [await one.hear_rows(1) for one in (ann, bob)] == [[number]] * 2
        await service.grows(3, "realtime_notifier_changes_total", project=PROJECT)
        assert await service.grown("realtime_gateway_publications_received_total") == 3
        assert await service.grown("realtime_gateway_deliveries_total") == 6
        assert await service.grown("realtime_gateway_fanout_seconds_count") == 3
        age = "realtime_gateway_delivery_age_seconds"
        assert await service.grown(f"{age}_count", kind="change") == 3
        assert await service.grown(f"{age}_count", kind="broadcast") == 0
        assert 0 < await service.grown(f"{age}_sum", kind="change") < 3 * DEADLINE
        await service.becomes(0, "realtime_notifier_pending_changes", project=PROJECT)
        await service.becomes(0, "realtime_notifier_lag_seconds", project=PROJECT)


async def test_what_is_there_is_added_up_and_goes_with_the_clients(service):
    """Wait until each gauge has its number, and until it is 0 again."""
    async with service.gateway.client() as ann, service.gateway.client() as bob:
        for client in (ann, bob):
            await client.subscribe("room:1")
        await ann.subscribe("room:2")
        await ann.ask(type="presence", state={}, ref=1)
        for name, expected in (("connections", 2), ("subscriptions", 3), ("presences", 1), ("topics", 2)):
            await service.becomes(expected, GATEWAY + name, project=PROJECT)
        await service.becomes(len("{}" + "alice"), "realtime_gateway_queue_bytes")  # her state and name
    await service.becomes(0, "realtime_gateway_queue_bytes")
    for name in ("connections", "subscriptions", "presences"):
        await service.becomes(0, GATEWAY + name, project=PROJECT)


async def test_what_waits_for_a_client_that_does_not_read_is_told(service):
    async with service.gateway.client() as ann, raw_socket(service.gateway, receive_bytes=4_096) as lazy:
        lazy.send(frame(TEXT, b'{"type":"subscribe","channel":"room:1"}'))
        assert b'"subscribed"' in await lazy.text()

        async def much_waits() -> bool:
            await ann.say(type="broadcast", channel="room:1", payload="x" * 60_000)
            return (await service.now("realtime_gateway_largest_queue_bytes") or 0) > 1_000_000

        await eventually(much_waits)
        figures, _ = await service.scrape(service.gateway.internal_port)
        largest, total = (
            figures[f"realtime_gateway_{one}queue_bytes", frozenset()] for one in ("largest_", "")
        )
        assert 0 < largest <= total
    await service.becomes(0, "realtime_gateway_queue_bytes")


async def test_who_comes_back_is_counted_by_what_became_of_it(service):
    async with service.gateway.client() as client:
        position = (await client.subscribe("table:orders"))["position"]
        assert (await client.subscribe("table:orders", since=position))["recovered"] is True
        await client.subscribe("table:orders", since="0123456789ab-1")
    for outcome in ("recovered", "lost"):
        assert await service.grown("realtime_gateway_recoveries_total", outcome=outcome) == 1


async def test_requests_are_counted_by_endpoint_and_never_by_path(service):
    gateway = service.gateway
    assert (await gateway.rest("GET", "/status", token_for()))[0] == 200
    assert (await gateway.rest("GET", "/status", "nonsense"))[0] == 401
    assert (await gateway.rest("GET", "/status"))[0] == 401
    assert (await gateway.rest("GET", "/status", token_for(), project="nobody"))[0] == 404
    assert (await gateway.rest("GET", "/tables", token_for()))[0] == 403
    assert (await gateway.rest("GET", "/unheard", token_for()))[0] == 404
    for endpoint, status, count in (("/status", "200", 1), ("/status", "401", 2), ("/tables", "403", 1)):
        name = "realtime_gateway_requests_total"
        assert await service.grown(name, endpoint=endpoint, status=status) == count
    assert await service.grown("realtime_gateway_request_seconds_count", endpoint="/status") == 4
    refused = "realtime_gateway_refused_tokens_total"
    assert await service.grown(refused, project=PROJECT, code="unauthorized") == 2
    figures, _ = await service.scrape(gateway.internal_port)
    endpoints = {dict(labels).get("endpoint") for _, labels in figures} - {None}
    assert endpoints == {endpoint.path for endpoint in ENDPOINTS}


async def test_a_token_that_is_refused_on_a_socket_is_counted(service):
    async with service.gateway.socket(token=token_for(ttl=-60)) as client:
        assert await client.is_refused() == ("token_expired", 4401)
    async with service.gateway.client() as client:
        await client.ask(type="auth", token="nonsense")
    refused = "realtime_gateway_refused_tokens_total"
    for code in ("token_expired", "unauthorized"):
        assert await service.grown(refused, project=PROJECT, code=code) == 1
        assert await service.grown("realtime_gateway_errors_total", code=code) == 1
    assert await service.grown("realtime_gateway_closes_total", code="4401") >= 1


async def test_a_leader_has_a_state_and_an_election(service):
    assert await service.now("realtime_notifier_state", project=PROJECT, state="live") == 1
    assert await service.now("realtime_notifier_state", project=PROJECT, state="standby") == 0
    assert await service.now("realtime_notifier_elections_total", project=PROJECT) >= 1
