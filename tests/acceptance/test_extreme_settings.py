"""The largest and the smallest value of every number run: what is taken at the start does not fail later."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from realtime.settings.config import Limits, Namespace, Project, Settings
from tests.acceptance.conftest import Stage
from tests.acceptance.programs import client_of, psql, running
from tests.acceptance.served import LOCAL, enable, is_ready, served
from tests.gateway_fixture import token_for
from tests.ports import free_port

LEAST, MOST = "least", "most"


def bounds(kind: type[msgspec.Struct], which: str) -> dict[str, float]:
    """A bound of each number of a table of settings, as it is declared; a switch is off or on."""
    found: dict[str, float] = {}
    described = inspect.type_info(kind)
    assert isinstance(described, inspect.StructType)
    for field in described.fields:
        one = field.type
        if isinstance(one, inspect.UnionType):
            (one,) = [part for part in one.types if not isinstance(part, inspect.NoneType)]
        if isinstance(one, inspect.BoolType):
            found[field.name] = which == MOST
        if isinstance(one, inspect.IntType | inspect.FloatType):
            bound = one.ge if which == LEAST else one.le
            assert bound is not None, f"{kind.__name__}.{field.name} has no {which} value"
            found[field.name] = bound
    return found


def lines_of(values: dict[str, float]) -> list[str]:
    return [f"{name} = {json.dumps(value)}" for name, value in values.items()]


def write(stage: Stage, which: str, **but: float) -> None:
    """Everything at its bound, but for what a test must not wait for."""
    top = {**bounds(Settings, which), **but}
    drain_seconds = float(top.pop("drain_seconds"))
    stage.write(
        *lines_of(top),
        project=(
            *lines_of(bounds(Project, which)),
            "[projects.demo.limits]",
            *lines_of(bounds(Limits, which)),
            "[projects.demo.namespaces.room]",
            *lines_of(bounds(Namespace, which)),
        ),
        drain_seconds=drain_seconds,
    )


async def test_the_largest_values_serve(messages: Stage) -> None:
    write(messages, MOST, drain_seconds=0)
    async with served(messages) as parts:
        await enable(parts.url, "messages")
        async with client_of(parts.url, token_for()) as client:
            await client.subscribe("table:messages")
            await client.subscribe("presence")
            assert (await client.hear())["event"] == "sync"
            said: list[Any] = [
                await client.ask(type="broadcast", channel="room:a", payload=1, ref=1),
                await client.ask(type="presence", state={}, ref=2),
            ]
            assert [one["type"] for one in said] == ["ack", "ack"]
            assert (await client.hear())["event"] == "join"
            await psql(messages.database_url, "insert into messages (body) values ('hello')")
            assert (await client.hear())["data"]["body"] == "hello"
        assert await parts.gateway.stop() == await parts.notifier.stop() == 0


async def test_the_smallest_values_end_nothing(messages: Stage) -> None:
    write(messages, LEAST)
    port, internal = free_port(), free_port()
    words = (*LOCAL, "--config", messages.config)
    async with (
        running("notifier", *words, "--internal-port", internal, directory=messages.directory) as notifier,
        running("gateway", *words, "--port", port, directory=messages.directory) as gateway,
    ):
        await gateway.does(lambda: is_ready(f"http://127.0.0.1:{port}"))
        await notifier.does(lambda: is_ready(f"http://127.0.0.1:{internal}"))
        async with client_of(f"http://127.0.0.1:{port}", token_for()) as client:
            answer = await client.ask(type="subscribe", channel="table:messages", ref=1)
            assert answer["type"] in ("subscribed", "error")
        assert await gateway.stop() == await notifier.stop() == 0
        assert {one["level"] for one in (*gateway.log, *notifier.log)} <= {"info", "warning"}


@pytest.mark.parametrize("kind", [Settings, Project, Limits, Namespace])
@pytest.mark.parametrize("which", [LEAST, MOST])
def test_every_number_has_bounds(kind: type[msgspec.Struct], which: str) -> None:
    assert bounds(kind, which)
