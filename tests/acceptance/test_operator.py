"""What an operator does from the command line, against a real service: the tables, and who is there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from realtime.cli.status import DEGRADED_STATUS
from tests.acceptance.conftest import Stage
from tests.acceptance.programs import START_SECONDS, Dev, Program, client_of, run, running
from tests.acceptance.served import served
from tests.gateway_fixture import Client
from tests.ports import free_port


async def ask(dev: Dev, *words: object, token: str | None = None) -> Program:
    """Run a command against the service."""
    at = ("--url", dev.url, "--token", token or dev.service_token)
    return await run(*words, *at, directory=dev.program.directory)


@pytest.fixture
async def things(dev: Dev) -> AsyncIterator[str]:
    """A table that no other test uses."""
    await dev.psql('create table "th.ings" (id bigint primary key, name text, secret text)')
    yield "th.ings"
    await dev.psql('drop table "th.ings"')


async def test_status_is_for_people_and_for_programs(dev: Dev) -> None:
    done = await ask(dev, "status")
    assert done.lines[0].startswith("demo is ok: ")
    assert any(line.startswith("public.orders ") for line in done.lines)
    (line,) = (await ask(dev, "status", "--json")).events
    assert {"project_id", "status", "nodes", "notifier", "tables", "problems"} <= line.keys()
    assert (done.status, line["status"]) == (0, "ok")


async def test_a_user_is_told_what_a_user_may_know(dev: Dev) -> None:
    done = await ask(dev, "status", token=dev.token)
    assert (done.status, len(done.lines)) == (0, 1)
    refused = await ask(dev, "tables", token=dev.token)
    assert refused.errors.startswith("Error: forbidden: ")
    assert (refused.status, refused.lines) == (1, [])


async def test_the_token_is_made_with_the_secret_of_the_settings(dev: Dev) -> None:
    config = dev.program.directory / "data" / "realtime.toml"
    done = await run("tables", "--url", dev.url, "--config", config, directory=dev.program.directory)
    assert any(line.startswith("public.users ") for line in done.lines)


async def test_a_table_is_switched_on_and_off(dev: Dev, things: str) -> None:
    on = await ask(dev, "enable", things, "--events", "insert,UPDATE", "--columns", "id,name")
    assert on.lines == ["realtime is on for public.th.ings: INSERT, UPDATE; columns id, name"]
    (listed,) = [line for line in (await ask(dev, "tables")).lines if line.startswith("public.th.ings ")]
    assert listed.split() == [
        *("public.th.ings", "on", "INSERT,", "UPDATE", "id"),
        *("id", "bigint,", "name", "text,", "secret", "text"),
    ]
    async with dev.client() as client:
        await client.subscribe('table:"th.ings"')
        await dev.psql("insert into \"th.ings\" values (1, 'a', 'b')")
        assert (await client.hear())["data"] == {"id": 1, "name": "a"}
    off = await ask(dev, "disable", things, "--schema", "public", "--json")
    assert off.events == [{"schema": "public", "table_name": "th.ings", "enabled": False}]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("enable", "no_such_table"), "not_found: "),
        (("enable", "users", "--columns", "nope"), "invalid_request: columns: "),
        (("enable", "users", "--events", "TRUNCATE"), "invalid_request: events"),
        (("disable", "no_such_table"), "not_found: "),
        (("send", "table:users", "1"), "forbidden: "),
        (("presence", "no colon"), "invalid_request: channel: "),
        (("status", "--project", "other"), "not_found: "),
    ],
)
async def test_a_refusal_is_one_line_with_its_code(dev: Dev, words: tuple[str, ...], error: str) -> None:
    done = await ask(dev, *words)
    (line,) = done.errors.splitlines()
    assert line.startswith(f"Error: {error}")
    assert (done.status, done.lines) == (1, [])


async def test_a_broadcast_is_sent_and_people_are_listed(dev: Dev) -> None:
    async with dev.client() as client:
        await client.subscribe("room:operators")
        await client.say(type="presence", channel="room:operators", state={"n": 1}, ref=1)
        assert (await client.hear())["type"] == "ack"
        sent = await ask(dev, "send", "room:operators", '{"exact":0.10000000000000000000001}')
        assert sent.lines == ["sent to room:operators"]
        assert (await client.hear())["type"] == "broadcast"
        _, row = (await ask(dev, "presence", "room:operators")).lines
        assert row.startswith('alice  {"n": 1}')
    assert (await ask(dev, "presence", "room:nobody")).lines == ["nobody is present"]


async def test_a_terminal_gets_a_table_that_fits(dev: Dev) -> None:
    words = ("tables", "--url", dev.url, "--token", dev.service_token)
    environment = {"COLUMNS": "60", "TERM": "xterm"}
    directory = dev.program.directory
    async with running(*words, directory=directory, environment=environment, terminal=True) as program:
        await program.ends()
        assert "\x1b[32mon\x1b[0m" in "".join(program.lines)
    async with running(
        *words, directory=directory, environment=environment | {"NO_COLOR": "1"}, terminal=True
    ) as program:
        await program.ends()
        assert all(len(line) <= 60 and line.isprintable() for line in program.lines)
        assert any(line.endswith("…") for line in program.lines)


async def test_a_project_without_a_notifier_is_degraded(messages: Stage) -> None:
    async with served(messages) as parts:
        at = ("--url", parts.url, "--config", messages.config)
        assert (await run("status", *at, directory=messages.directory)).status == 0
        await parts.notifier.stop()

        async def is_degraded() -> bool:
            done = await run("status", "--json", *at, directory=messages.directory)
            assert done.status in (0, DEGRADED_STATUS), done
            return done.status == DEGRADED_STATUS and json.loads(done.lines[0])["status"] == "degraded"

        await parts.gateway.does(is_degraded)
        done = await run("status", *at, directory=messages.directory)
        assert any(line.startswith("error notifier_down: ") for line in done.lines)


async def test_a_service_that_is_away_is_one_sentence(stage: Stage) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = await run("status", "--url", url, "--config", stage.config, directory=stage.directory)
    assert done.status == 1
    (line,) = done.errors.splitlines()
    assert "the connection was refused; start a gateway" in line


@pytest.mark.parametrize(("more", "close"), [((), 4410), (("--reconnect",), 1012)])
async def test_clients_are_listed_and_disconnected(dev: Dev, more: tuple[str, ...], close: int) -> None:
    config = dev.program.directory / "data" / "realtime.toml"
    words = ("token", "--sub", "guest of honour", "--config", config)
    (token,) = (await run(*words, directory=dev.program.directory)).lines
    async with client_of(dev.url, token) as client:
        await client.subscribe("room:operators")
        _, row = (await ask(dev, "clients", "--user", "guest of honour")).lines
        assert row.startswith(f"{client.connected['connection_id']}  guest of honour  20")
        (answer,) = (await ask(dev, "clients", "--user", "guest of honour", "--json")).events
        assert answer["clients"][0]["subscriptions"] == ["room:operators"]
        closing = asyncio.create_task(close_of(client), name="close")
        ended = await ask(dev, "disconnect", "--user", "guest of honour", *more)
        assert ended.lines == ["disconnected 1 connection"]
        assert await closing == close

    async def is_gone() -> bool:
        done = await ask(dev, "clients", "--user", "guest of honour")
        return done.lines == ["no client is connected"]

    await dev.program.does(is_gone)


async def close_of(client: Client) -> int | None:
    """The code with which the server ends a connection, whatever it says before."""
    while (await client.web_socket.receive(START_SECONDS)).type is aiohttp.WSMsgType.TEXT:
        pass
    return client.web_socket.close_code


async def test_a_dry_run_prints_the_sql_and_runs_nothing(dev: Dev, things: str) -> None:
    done = await ask(dev, "enable", things, "--columns", "id", "--dry-run")
    assert done.status == 0
    assert "enable_v1" in "\n".join(done.lines)
    (listed,) = [line for line in (await ask(dev, "tables")).lines if line.startswith("public.th.ings ")]
    assert listed.split()[1] == "off"
