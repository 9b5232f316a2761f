"""`realtime listen`: JSON lines in a pipe, colours on a terminal, and nothing missed in between."""

from __future__ import annotations

import signal

from tests.acceptance.conftest import Stage
from tests.acceptance.programs import Dev, Program, client_of, psql, run, running
from tests.acceptance.served import LOCAL, served
from tests.gateway_fixture import token_for


def at(dev: Dev) -> tuple[str, ...]:
    return "--url", dev.url, "--token", dev.token


def bodies(listener: Program) -> list[str]:
    return [event["data"]["body"] for event in listener.events]


async def test_a_pipe_gets_the_messages_as_lines_of_json(dev: Dev) -> None:
    directory = dev.program.directory
    async with (
        running("listen", "table:users", *at(dev), directory=directory) as listener,
        dev.client() as client,
    ):
        await listener.says("listening to table:users")
        await client.subscribe("table:users")
        await dev.psql("insert into users (name) values ('Zoë'), ('Rahul')")
        await listener.prints(2)
        assert listener.events == [await client.hear(), await client.hear()]
        assert await listener.stop(signal.SIGINT) == 0


async def test_several_channels_are_listened_to_at_once(dev: Dev) -> None:
    channels = ("table:users:DELETE", "table:orders", "room:lobby")
    async with running("listen", *channels, *at(dev), directory=dev.program.directory) as listener:
        for channel in channels:
            await listener.says(f"listening to {channel}")
        await dev.psql("insert into orders (item) values ('tea')")
        await listener.prints(1)
        assert listener.events[0]["channel"] == "table:orders"


async def test_a_terminal_gets_colours(dev: Dev) -> None:
    words = ("listen", "table:users", *at(dev))
    async with running(*words, directory=dev.program.directory, terminal=True) as listener:
        await listener.says("listening to table:users")
        await dev.psql("insert into users (name) values ('Asha')")
        await dev.psql("update users set name = 'Priya' where name = 'Asha'")
        await dev.psql("delete from users where name = 'Priya'")
        await listener.prints(3)
        first, *_ = listener.lines
        assert "\x1b[32m\x1b[1mINSERT\x1b[0m public.users {" in first
        assert '"name":"Asha"' in first
        text = "".join(listener.lines)
        assert "\x1b[33m\x1b[1mUPDATE" in text
        assert "\x1b[31m\x1b[1mDELETE" in text


async def test_a_restarted_gateway_costs_no_event(messages: Stage) -> None:
    async with served(messages) as parts:
        words = ("listen", "table:messages", "--url", parts.url, "--config", messages.config)
        async with running(*words, directory=messages.directory) as listener:
            await listener.says("listening to table:messages")
            await psql(messages.database_url, "insert into messages (body) values ('before')")
            await listener.prints(1)
            await parts.gateway.stop(signal.SIGKILL)
            await listener.says("connection lost")
            await psql(messages.database_url, "insert into messages (body) values ('missed'), ('too')")
            again = ("gateway", "--port", parts.ports[0], *LOCAL, "--config", messages.config)
            async with running(*again, directory=messages.directory):
                await listener.says("listening to table:messages", times=2)
                await psql(messages.database_url, "insert into messages (body) values ('after')")
                await listener.prints(4)
                assert bodies(listener) == ["before", "missed", "too", "after"]


async def test_a_refusal_is_one_line(dev: Dev) -> None:
    directory = dev.program.directory
    for channel, token, project, code in (
        ("table:users", "nonsense", "demo", "unauthorized"),
        ("table:users", token_for(), "demo", "unauthorized"),
        ("table:users", dev.token, "other", "not_found"),
        ("nonsense", dev.token, "demo", "invalid_channel"),
    ):
        words = ("listen", channel, "--url", dev.url, "--token", token, "--project", project)
        program = await run(*words, directory=directory)
        (line,) = program.errors.splitlines()
        assert line.startswith(f"Error: {code}: "), line
        assert (program.status, program.lines) == (1, [])


async def test_an_address_that_is_none_of_ours_is_named(dev: Dev) -> None:
    for url in ("nonsense", f"{dev.url}/elsewhere"):
        program = await run(
            "listen", "table:users", "--url", url, "--token", dev.token, directory=dev.program.directory
        )
        (line,) = program.errors.splitlines()
        assert line.startswith("Error: "), line
        assert url in line
        assert program.status == 1


async def test_a_client_may_listen_before_the_server_is_there(messages: Stage) -> None:
    async with served(messages) as parts:
        await parts.gateway.stop()
        words = ("listen", "table:messages", "--url", parts.url, "--config", messages.config)
        async with running(*words, directory=messages.directory) as listener:
            await listener.says("the connection was refused")
            again = ("gateway", "--port", parts.ports[0], *LOCAL, "--config", messages.config)
            async with running(*again, directory=messages.directory):
                await listener.says("listening to table:messages")
                async with client_of(parts.url, token_for()):
                    await psql(messages.database_url, "insert into messages (body) values ('first')")
                await listener.prints(1)
                assert bodies(listener) == ["first"]
