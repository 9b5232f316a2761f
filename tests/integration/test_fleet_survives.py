"""A gateway answers other nodes and disconnects clients after one of these raised what nobody foresaw."""

from __future__ import annotations

import pytest

from gateway.fleet.answering import Answering
from gateway.fleet.messages import Asked
from gateway.websocket import disconnecting
from gateway.websocket.connection import Connection
from gateway.wire.events import Closing
from tests.gateway_fixture import Gateway, eventually, running_gateway, settings_for, token_for
from tests.survival_fixture import MALLORY, Unheard, serving

SERVICE = token_for(role="service_role")


@pytest.fixture
def settings(database_url, redis_url):
    return settings_for(database_url, redis_url, presence_ttl_seconds=1, heartbeat_seconds=30)


async def test_a_client_that_cannot_be_disconnected_keeps_no_other_from_it(settings, monkeypatch):
    close = disconnecting._close

    def fails_for_mallory(connection: Connection, closing: Closing | None) -> None:
        if connection.session.identity.user_id == "mallory":
            raise Unheard
        close(connection, closing)

    monkeypatch.setattr(disconnecting, "_close", fails_for_mallory)
    async with (
        serving(settings) as (gateway, _),
        gateway.client(MALLORY) as mallory,
        gateway.client(token_for(sub="alice")) as alice,
    ):
        for user in ("mallory", "alice"):
            answer = await gateway.rest("POST", "/disconnect", SERVICE, json={"user_id": user})
            assert answer[:2] == (202, {"disconnected": 1, "missing": []})
        assert await alice.is_refused() == ("disconnected", 4410)
        assert (await mallory.ask(type="ping"))["type"] == "pong"


async def test_a_node_answers_the_next_question_after_one_that_failed(settings, monkeypatch):
    reply, questions = Answering._reply, []

    async def fails_once(answering: Answering, asked: Asked) -> None:
        questions.append(asked)
        if len(questions) == 1:
            raise Unheard
        await reply(answering, asked)

    monkeypatch.setattr(Answering, "_reply", fails_once)

    async def missing(gateway: Gateway) -> list[str]:
        status, answer, _ = await gateway.rest("GET", "/stats", SERVICE)
        assert status == 200
        return answer["missing"]

    async with serving(settings) as (gateway, _), running_gateway(settings, expected_errors=1) as other:
        await eventually(other.is_ready)

        async def nobody_is_missing() -> bool:
            return bool(questions) and await missing(gateway) == []

        assert len(await missing(gateway)) == 1
        await eventually(nobody_is_missing)
        assert len(questions) > 1
