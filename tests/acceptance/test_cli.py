"""The commands as a supervisor runs them: one file of settings, or none, and real servers."""

from __future__ import annotations

import os
import signal

import jwt
import pytest

from tests.acceptance.conftest import Stage
from tests.acceptance.programs import (
    all_gone,
    client_of,
    command_of,
    descendants,
    psql,
    run,
    running,
)
from tests.acceptance.served import LOCAL, Served, enable, get, is_ready, served, status
from tests.gateway_fixture import SECRET, eventually, token_for
from tests.ports import free_port


async def expect_delivery(stage: Stage, served: Served) -> None:
    async with client_of(served.url, token_for()) as client:
        assert (await client.subscribe("table:messages"))["enabled"] is True
        await psql(stage.database_url, "insert into messages (body) values ('through')")
        assert (await client.hear())["data"]["body"] == "through"


async def test_gateway_and_notifier_run_from_one_file(messages: Stage) -> None:
    async with served(messages) as parts:
        await expect_delivery(messages, parts)
        assert await parts.gateway.stop() == 0
        assert await parts.notifier.stop(signal.SIGINT) == 0


async def test_the_environment_is_settings_enough(messages: Stage) -> None:
    """Wait until a change is delivered to a client."""
    environment = {
        "REALTIME_REDIS_URL": messages.redis_url,
        "REALTIME_PROJECTS__DEMO__DATABASE_URL": messages.database_url,
        "REALTIME_PROJECTS__DEMO__JWT_SECRET": SECRET,
    }
    messages.config.unlink()
    async with served(messages, environment=environment) as parts:
        await expect_delivery(messages, parts)


async def test_the_environment_may_name_the_file_and_goes_over_it(messages: Stage) -> None:
    """Wait until a change is delivered, by a Redis that only the environment names."""
    Stage(messages.directory, messages.database_url, "redis://127.0.0.1:1").write("poll_seconds = 0")
    environment = {
        "REALTIME_CONFIG": str(messages.config),
        "REALTIME_POLL_SECONDS": "1",
        "REALTIME_REDIS_URL": messages.redis_url,
    }
    async with served(messages, environment=environment) as parts:
        await expect_delivery(messages, parts)


async def test_the_internal_ports_tell_how_each_part_does(messages: Stage) -> None:
    gateway_port, notifier_port = free_port(), free_port()
    inside = ("--internal-port", notifier_port)
    async with served(messages, "--internal-port", gateway_port, notifier_words=inside) as parts:
        await expect_delivery(messages, parts)
        for port, figure in (
            (gateway_port, "realtime_gateway_deliveries"),
            (notifier_port, "realtime_notifier_changes"),
        ):
            internal = f"http://127.0.0.1:{port}"
            assert (await get(f"{internal}/healthz"))[0] == 200
            assert await is_ready(internal)
            code, figures = await get(f"{internal}/metrics")
            assert (code, figure in figures) == (200, True), figures
        assert (await get(f"{parts.url}/metrics"))[0] == 404
        assert (await get(f"{parts.url}/healthz"))[0] == 200


async def test_two_workers_are_two_nodes_on_one_port(messages: Stage) -> None:
    internal = free_port()
    async with served(messages, "--workers", 2, "--internal-port", internal) as parts:
        workers = descendants(parts.gateway.pid)
        assert len(workers) == 2
        nodes = await eventually(lambda: two_nodes(parts.url))
        assert len({node["id"] for node in nodes}) == 2
        for port in (internal, internal + 1):
            await eventually(lambda port=port: is_ready(f"http://127.0.0.1:{port}"))
        await expect_delivery(messages, parts)
        assert await parts.gateway.stop() == 0
        await all_gone(workers)


async def two_nodes(url: str) -> list[dict[str, str]] | None:
    nodes = (await status(url))["nodes"]
    return nodes if len(nodes) == 2 else None


async def test_workers_do_not_outlive_who_started_them(messages: Stage) -> None:
    async with served(messages, "--workers", 2) as parts:
        workers = descendants(parts.gateway.pid)
        assert all("realtime gateway" in command_of(pid) for pid in workers)
        assert await parts.gateway.stop(signal.SIGKILL) == -signal.SIGKILL
        await all_gone(workers)


async def test_a_worker_that_dies_is_replaced_and_the_others_stay(messages: Stage) -> None:
    internal = free_port()
    async with served(messages, "--workers", 2, "--internal-port", internal) as parts:
        victim, other = descendants(parts.gateway.pid)
        os.kill(victim, signal.SIGKILL)
        await parts.gateway.tells("child_restarted", command="gateway", child_pid=victim, status=-9)
        await parts.gateway.does(lambda: len(descendants(parts.gateway.pid)) == 2)
        assert other in descendants(parts.gateway.pid)
        for port in (internal, internal + 1):
            await parts.gateway.does(lambda port=port: is_ready(f"http://127.0.0.1:{port}"))
        await expect_delivery(messages, parts)
        assert await parts.gateway.stop() == 0


async def test_a_part_waits_for_servers_that_are_down(stage: Stage) -> None:
    Stage(stage.directory, "postgresql://127.0.0.1:1/x", "redis://127.0.0.1:1/0").write()
    port, config = free_port(), ("--config", stage.config)
    async with (
        running("gateway", "--port", port, *LOCAL, *config, directory=stage.directory) as gateway,
        running("notifier", *LOCAL, *config, directory=stage.directory) as notifier,
    ):
        await notifier.says("127.0.0.1:1: the connection was refused")
        await gateway.says("127.0.0.1:1: the connection was refused")
        url = f"http://127.0.0.1:{port}"
        await gateway.does(lambda: is_alive(url))
        assert not await is_ready(url)
        assert (await status(url))["status"] == "degraded"
        assert await gateway.stop() == await notifier.stop() == 0


async def is_alive(url: str) -> bool:
    return (await get(f"{url}/healthz"))[0] == 200


async def test_token_prints_a_valid_token(stage: Stage) -> None:
    words = ("--sub", "bob", "--role", "service_role", "--ttl", 60)
    program = await run("token", "--config", stage.config, *words, directory=stage.directory)
    assert (program.status, program.errors) == (0, "")
    (token,) = program.lines
    claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    assert (claims["sub"], claims["role"], claims["project_id"]) == ("bob", "service_role", "demo")
    assert claims["exp"] - claims["iat"] == pytest.approx(60, abs=1)


async def test_migrate_installs_the_schema_and_may_be_run_again(stage: Stage) -> None:
    for logged in (["schema_migrated"], []):
        program = await run("migrate", "--config", stage.config, directory=stage.directory)
        assert program.lines == ["the schema realtime of project demo is up to date"]
        assert program.status == 0
        assert [record["event"] for record in program.log] == logged
    assert await psql(stage.database_url, "select to_regclass('realtime.outbox') is not null") == "t"


async def test_an_administrator_may_run_what_migrate_prints(messages: Stage) -> None:
    """The role of database_url then needs to be nothing but the owner of its tables."""
    role = f"app_{os.getpid()}"
    await psql(messages.database_url, f"create role {role} login password 'sesame'")
    await psql(messages.database_url, f"alter table messages owner to {role}")
    limited = messages.database_url.partition("@")[2]
    Stage(messages.directory, f"postgresql://{role}:sesame@{limited}", messages.redis_url).write()
    refused = await run("migrate", "--config", messages.config, directory=messages.directory)
    assert refused.status == 1
    assert len(refused.errors.splitlines()) == 1
    printed = await run("migrate", "--print-sql", "--config", messages.config, directory=messages.directory)
    assert printed.status == 0
    await psql(messages.database_url, "\n".join(printed.lines))
    async with served(messages) as parts:
        await enable(parts.url, "messages")
        await expect_delivery(messages, parts)
