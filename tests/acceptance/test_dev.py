"""`realtime dev` from outside: Postgres, Valkey, a notifier and gateways start, deliver changes, and stop.

`dev` is a running service that tests share; `spare` is a directory for tests that start their own, one after
the other. `programs.py` runs the processes and reads what they print.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import socket
import subprocess
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from tests.acceptance.programs import (
    START_SECONDS,
    Dev,
    Program,
    all_gone,
    clean_environment,
    client_of,
    command_of,
    descendants,
    is_gone,
    run,
    running,
    running_dev,
)
from tests.acceptance.served import is_ready
from tests.gateway_fixture import Client, eventually
from tests.ports import free_port

pytestmark = pytest.mark.standalone  # `realtime dev` brings its own Valkey, which is one server


async def expect_row(client: Client, name: str) -> None:
    message = await client.hear()
    assert (message["type"], message["table"], message["event"]) == ("realtime", "users", "INSERT"), message
    assert message["data"]["name"] == name


async def test_a_row_that_psql_inserts_reaches_a_client(dev: Dev) -> None:
    """The whole path: psql, trigger, outbox, notifier, Redis, gateway, WebSocket."""
    async with dev.client() as client:
        assert (await client.subscribe("table:users"))["enabled"] is True
        await dev.psql("insert into users (name) values ('Rahul')")
        await expect_row(client, "Rahul")


async def test_json_mode_prints_one_line_with_all_that_one_needs(dev: Dev) -> None:
    (line,) = dev.program.events
    assert list(line) == ["url", "token", "service_token", "database_url", "redis_url", "dashboard"]
    assert dev.dashboard == f"{dev.url}/dashboard#project=demo&token={dev.service_token}"
    async with Redis.from_url(dev.redis_url) as redis:
        assert await redis.ping()
    headers = {"Authorization": f"Bearer {dev.service_token}"}
    async with (
        aiohttp.ClientSession(dev.url, headers=headers) as http,
        http.get("/projects/demo/realtime/status") as answer,
    ):
        status = await answer.json()
    assert status["status"] == "ok"
    assert {table["table_name"] for table in status["tables"]} == {"users", "orders", "sessions"}


async def test_what_text_mode_prints_can_be_pasted(spare: Path) -> None:
    port = free_port()
    async with running("dev", "--data-dir", "data", "--port", port, directory=spare) as program:
        first, *others = await program.prints(9)
        assert first.startswith(f"ready http://127.0.0.1:{port}")
        told = {line[:17].strip(): line[17:] for line in others}
        async with client_of(f"http://127.0.0.1:{port}", told["token"]) as client:
            await client.subscribe("table:users")
            await paste(told["try"], spare)
            await expect_row(client, "Rahul")
        _, *listen = shlex.split(told["listen"])
        async with running(*listen, directory=spare) as listener:
            await listener.says("listening to table:users")
            await paste(told["try"], spare)
            await listener.prints(1)
            assert listener.events[0]["data"]["name"] == "Rahul"


async def paste(command: str, directory: Path) -> None:
    await asyncio.to_thread(
        subprocess.run,
        command,
        shell=True,
        check=True,
        cwd=directory,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
    )


async def test_data_tokens_and_positions_survive_a_restart(spare: Path) -> None:
    async with running_dev(spare) as before:
        async with before.client() as client:
            await client.subscribe("table:users")
            await before.psql("insert into users (name) values ('kept')")
            seen = (await client.hear())["id"]
            await before.psql("insert into users (name) values ('missed')")
            await client.hear()
        assert await before.program.stop() == 0
    async with running_dev(spare) as after, client_of(after.url, before.token) as client:
        assert after.database_url == before.database_url
        assert await after.psql("select count(*) from users where name = 'kept'") == "1"
        assert (await client.subscribe("table:users", since=seen))["recovered"] is True
        await expect_row(client, "missed")


async def test_a_killed_dev_leaves_nothing_behind_and_the_next_one_starts(spare: Path) -> None:
    async with running_dev(spare) as killed:
        await killed.psql("insert into users (name) values ('committed')")
        others = descendants(killed.program.pid)
        assert len(others) > 4
        assert await killed.program.stop(signal.SIGKILL) == -signal.SIGKILL
        async with running_dev(spare) as dev, dev.client() as client:
            assert await dev.psql("select count(*) from users where name = 'committed'") == "1"
            await client.subscribe("table:users")
            await dev.psql("insert into users (name) values ('again')")
            await expect_row(client, "again")
            await all_gone(others)


async def test_a_second_dev_on_the_same_directory_says_so(dev: Dev) -> None:
    data = dev.program.words[dev.program.words.index("--data-dir") + 1]
    second = await run("dev", "--data-dir", data, "--port", free_port(), directory=Path(data).parent)
    assert second.status == 1
    assert second.errors == f"Error: another realtime dev (pid {dev.program.pid}) uses {data}\n"
    assert second.lines == []


async def test_a_taken_port_is_named(spare: Path) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port + 1)):
        program = await run("dev", "--data-dir", "data", "--nodes", 2, "--port", port, directory=spare)
    assert program.status == 1
    assert program.errors == f"Error: port {port + 1} is taken; choose another with --port\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_all_of_it_cleanly(spare: Path, number: signal.Signals) -> None:
    async with running_dev(spare) as dev, dev.client() as client:
        await client.subscribe("table:users")
        others = descendants(dev.program.pid)
        assert await dev.program.stop(number) == 0
        assert [command_of(pid) for pid in others if not is_gone(pid)] == []
    assert not {"error", "critical"} & {record["level"] for record in dev.program.log}


async def test_it_can_be_stopped_while_it_starts(tmp_path: Path) -> None:
    async with running("dev", "--data-dir", "data", "--port", free_port(), directory=tmp_path) as program:
        others = await eventually(lambda: descendants(program.pid), START_SECONDS)
        assert await program.stop(signal.SIGINT) == 0
        await all_gone(others)
        assert program.lines == []


async def test_a_change_reaches_the_clients_of_both_nodes(spare: Path) -> None:
    """Each node delivers the change to its own client."""
    port = free_port()
    urls = [f"http://127.0.0.1:{one}" for one in (port, port + 1)]
    async with (
        running_dev(spare, "--nodes", 2, port=port) as dev,
        client_of(urls[0], dev.token) as first,
        client_of(urls[1], dev.token) as second,
    ):
        await first.subscribe("table:users")
        await second.subscribe("table:users:INSERT")
        await dev.psql("insert into users (name) values ('both')")
        await expect_row(first, "both")
        await expect_row(second, "both")


async def test_a_gateway_and_a_notifier_that_die_are_started_again(spare: Path) -> None:
    port = free_port()
    async with running_dev(spare, "--nodes", 2, port=port) as dev:
        async with client_of(f"http://127.0.0.1:{port + 1}", dev.token) as stays, dev.client() as client:
            await stays.subscribe("table:users")
            since = (await client.subscribe("table:users"))["position"]
            for victim in (pid_of(f"--port {port} ", dev), pid_of("realtime notifier", dev)):
                os.kill(victim, signal.SIGKILL)
                await dev.program.tells("child_restarted", child_pid=victim, status=-9)
            await dev.psql("insert into users (name) values ('meanwhile')")
            await expect_row(stays, "meanwhile")
        await dev.program.does(lambda: is_ready(dev.url))
        async with dev.client() as back:
            assert (await back.subscribe("table:users", since=since))["recovered"] is True
            await expect_row(back, "meanwhile")
        assert await dev.program.stop() == 0


def pid_of(part: str, dev: Dev) -> int:
    """The pid of the one process whose command contains `part`."""
    (pid,) = [pid for pid in descendants(dev.program.pid) if part in command_of(pid) + " "]
    return pid


@pytest.mark.parametrize(
    ("part", "number", "message"),
    [
        ("bin/postgres -D", signal.SIGQUIT, "postgres"),  # an immediate shutdown
        ("valkey-server", signal.SIGKILL, "valkey-server"),
    ],
)
async def test_when_a_server_dies_dev_says_which_and_ends(
    spare: Path, part: str, number: signal.Signals, message: str
) -> None:
    async with running_dev(spare) as dev:
        others = descendants(dev.program.pid)
        os.kill(pid_of(part, dev), number)
        assert await dev.program.ends() == 1
        await all_gone(others)
    (last,) = error_lines(dev.program)
    assert message in last


async def test_a_gateway_that_cannot_stay_ends_dev(spare: Path) -> None:
    async with running_dev(spare) as dev:
        others = descendants(dev.program.pid)
        killed: set[int] = set()

        def kill_the_next() -> bool:
            for pid in descendants(dev.program.pid):
                if pid not in killed and "realtime gateway" in command_of(pid):
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
            return dev.program.status is not None

        await eventually(kill_the_next, START_SECONDS)
        assert dev.program.status == 1
        assert 3 <= len(killed) <= 4, "the first may have lived for long enough"
        await all_gone(others)
    assert error_lines(dev.program) == ["Error: realtime gateway ended with status -9"]


def error_lines(program: Program) -> list[str]:
    return [line for line in program.errors.splitlines() if line.startswith("Error: ")]
