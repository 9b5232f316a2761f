"""A fault of one client's connection ends that connection, with `internal`, and all others are served.

One part of mallory's connection is a subclass that fails; bob must not notice.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import aiohttp
import pytest

from gateway.projects.project import Tenant
from gateway.session.session import Session
from gateway.timings import Timings
from gateway.websocket import connection, handshake
from gateway.websocket.connection import Connection
from gateway.websocket.timings import WebSocketTimings
from gateway.wire.batch import Batch
from gateway.wire.events import Closing, ServerEvent
from gateway.wire.send_queue import SendQueue
from realtime import names
from realtime.redis.client import Store
from realtime.settings.config import Settings
from tests.expressions import value
from tests.gateway_fixture import eventually, running_gateway, settings_for, token_for
from tests.survival_fixture import MALLORY, Unheard, serving


@pytest.fixture
def settings(database_url: str, redis_url: str) -> Settings:
    return settings_for(database_url, redis_url, presence_ttl_seconds=1)


class FailingSession(Session):
    """Fails for mallory, once, where it is told to."""

    breaks = ""

    def tick(self, now: float) -> list[Any]:
        self._break("tick")
        return super().tick(now)

    @property
    def presence_bytes(self) -> int:
        self._break("presence_bytes")
        return super().presence_bytes

    def _break(self, where: str) -> None:
        if self.identity.user_id == "mallory" and FailingSession.breaks == where:
            FailingSession.breaks = ""
            raise Unheard

    @property
    def presences(self) -> Any:
        self._break("presences")
        return self._presences

    @presences.setter
    def presences(self, value: Any) -> None:
        self._presences = value


@pytest.fixture
def failing_session(monkeypatch: pytest.MonkeyPatch) -> type[FailingSession]:
    monkeypatch.setattr(FailingSession, "breaks", "")
    monkeypatch.setattr(handshake, "Session", FailingSession)
    return FailingSession


async def test_a_client_whose_clock_fails_is_closed_alone(settings, failing_session):
    async with serving(settings) as (gateway, _), gateway.client(MALLORY) as mallory:
        failing_session.breaks = "tick"
        assert await mallory.is_refused() == ("internal", 1011)


async def test_figures_of_the_others_are_taken(settings, failing_session):
    quick = Timings(websocket=WebSocketTimings(measure_seconds=0.05))
    async with serving(settings, timings=quick) as (gateway, bob), gateway.client(MALLORY) as mallory:
        failing_session.breaks = "presences"
        assert await mallory.is_refused() == ("internal", 1011)
        await bob.subscribe("room:second")
        await eventually(lambda: value("realtime_gateway_subscriptions", project="demo") == 2)


async def test_what_waits_for_the_others_is_counted(settings, failing_session):
    async with serving(settings) as (gateway, bob), gateway.client(MALLORY) as mallory:
        failing_session.breaks = "presence_bytes"
        assert await mallory.is_refused() == ("internal", 1011)
        await bob.ask(type="presence", state={"pad": "x" * 1_000}, ref=1)
        await eventually(lambda: value("realtime_gateway_queue_bytes") > 1_000)


async def test_who_cannot_be_put_back_is_closed_and_the_others_are_put_back(
    settings, failing_session, store: Store
):
    async with serving(settings) as (gateway, bob), gateway.client(MALLORY) as mallory:
        await bob.ask(type="presence", state={}, ref=1)
        failing_session.breaks = "presences"
        lost = {life.decode() for life in await store.call("SMEMBERS", names.nodes())}
        for life in lost:
            await store.call("DEL", names.node(life))
        assert await mallory.is_refused() == ("internal", 1011)

        async def bob_is_back() -> bool:
            opened = await store.call("HKEYS", names.open_connections("demo"))
            return len(opened) == 1 and opened[0].decode().split("/")[0] not in lost

        await eventually(bob_is_back)


class FailingSocket(SendQueue):
    """Fails for whom it is told to."""

    victims: set[str] = set()  # noqa: RUF012 - of the test, by how it fails and connection

    def write(self) -> bool:
        if f"write {self.connection_id}" in self.victims:
            raise Unheard
        return super().write()

    def deliver(self, batch: Batch) -> None:
        if f"deliver {self.connection_id}" in self.victims:
            raise Unheard
        super().deliver(batch)


@pytest.mark.parametrize("how", ["write", "deliver"])
async def test_a_client_that_cannot_be_written_to_is_cut_off_and_the_others_get_theirs(
    settings, monkeypatch, how
):
    monkeypatch.setattr(connection, "SendQueue", FailingSocket)
    monkeypatch.setattr(FailingSocket, "victims", set())
    async with serving(settings) as (gateway, bob), gateway.client(MALLORY) as mallory:
        await mallory.subscribe("room:bob")
        async with gateway.client() as third:
            await third.subscribe("room:bob")
            FailingSocket.victims.add(f"{how} {mallory.connected['connection_id']}")
            for number in range(3):
                await bob.say(type="broadcast", channel="room:bob", payload=number)
            assert [(await bob.hear())["payload"] for _ in range(3)] == [0, 1, 2]
            assert [(await third.hear())["payload"] for _ in range(3)] == [0, 1, 2]
        assert (await mallory.hear_close()) == 1006


class FailingConnection(Connection):
    def say(self, event: ServerEvent) -> None:
        if self.session.identity.user_id == "mallory" and isinstance(event, Closing):
            raise Unheard
        super().say(event)


async def test_a_drain_goes_on_after_one_that_cannot_be_told(settings, monkeypatch):
    monkeypatch.setattr(handshake, "Connection", FailingConnection)
    async with aiohttp.ClientSession() as http:
        running = running_gateway(settings, expected_errors=1)
        gateway = dataclasses.replace(await running.__aenter__(), http=http)
        await eventually(gateway.is_ready)
        async with gateway.client(MALLORY) as mallory, gateway.client() as alice:
            leaving = asyncio.create_task(running.__aexit__(None, None, None))
            assert await alice.is_sent_away() == 1001
            assert await mallory.hear_close() == 1001
            await leaving


async def test_a_fault_of_a_connection_before_it_is_served_leaves_no_place_taken(settings, monkeypatch):
    class Unborn(Connection):
        def __init__(self, web_socket: Any, transport: Any, tenant: Tenant, session: Session, *more: Any):
            if session.identity.user_id == "mallory":
                raise Unheard
            super().__init__(web_socket, transport, tenant, session, *more)

    monkeypatch.setattr(handshake, "Connection", Unborn)
    async with serving(settings) as (gateway, _):
        async with gateway.socket(token=MALLORY) as mallory:
            assert await mallory.is_refused() == ("internal", 1011)
        service = token_for(role="service_role")

        async def is_recorded() -> bool:
            path = "/connections?user_id=mallory"
            events = (await gateway.rest("GET", path, service))[1]["connections"]
            return [(one["event"], one["code"], one["reason"]) for one in events] == [
                ("disconnect", 1011, "internal"),
                ("connect", None, None),
            ]

        await eventually(is_recorded)
