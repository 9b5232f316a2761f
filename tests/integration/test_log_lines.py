"""What running processes log: records that a collector can read, each with the ids of whom it is about."""

from __future__ import annotations

import asyncio
import logging
import os
import pty
import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.contextvars import bound_contextvars

from gateway.presence.node import Node
from gateway.projects.jwks import KeyRing
from realtime import __version__
from realtime.errors import Unavailable
from realtime.settings.config import Project, Settings
from tests.acceptance.programs import REALTIME, clean_environment, run, running
from tests.clean_log import logged
from tests.gateway_fixture import Gateway, eventually, running_gateway, token_for
from tests.limits_fixture import toml
from tests.ports import free_port

TEXT = re.compile(
    r"\d{4}-\d\d-\d\dT[\d:.]+Z (DEBUG|INFO|WARNING|ERROR) +realtime\.postgres\.migrations schema_migrated .+"
)


@pytest.fixture
def configured(tmp_path: Path, database_url: str, redis_url: str) -> Path:
    """A directory with settings for the commands."""
    (tmp_path / "realtime.toml").write_text(toml(database_url, redis_url))
    return tmp_path


@pytest.fixture
def everything(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What is logged at any level."""
    caplog.set_level(logging.DEBUG)
    return caplog


async def test_a_gateway_and_a_notifier_write_nothing_but_records(configured: Path) -> None:
    port, internal = free_port(), free_port()
    words = ("--config", "realtime.toml", "--host", "127.0.0.1", "--internal-port")
    async with (
        running("gateway", "--port", port, *words, internal, directory=configured) as gateway,
        running("notifier", *words, internal + 1, directory=configured) as notifier,
    ):
        await gateway.tells("ready")
        await notifier.tells("ready")
        assert await gateway.stop() == await notifier.stop() == 0
        facts = {"version": __version__, "projects": ["demo", "other"]}
        for program, more in (
            (gateway, {"pid": gateway.pid, "port": port, "internal_port": internal}),
            (notifier, {"pid": notifier.pid, "internal_port": internal + 1}),
        ):
            assert len(program.log) == len(program.errors.splitlines())
            for record in program.log:
                assert list(record)[:4] == ["time", "level", "logger", "event"]
            (started,) = [record for record in program.log if record["event"] == "process_started"]
            assert {**started, **facts, **more} == started
            assert {record["node"] for record in program.log} == {started["node"]}
        events = [record["event"] for record in gateway.log]
        assert events.index("ready") < events.index("drain_began") < events.index("drain_ended")


async def test_a_file_gets_text_where_that_is_asked_for(configured: Path) -> None:
    words = ("--log-format", "text", "migrate", "--config", "realtime.toml")
    program = await run(*words, directory=configured)
    (line,) = program.errors.splitlines()
    assert TEXT.fullmatch(line)


@pytest.mark.parametrize(("environment", "is_text"), [({}, True), ({"LOG_FORMAT": "json"}, False)])
async def test_a_terminal_gets_text_unless_json_is_asked_for(
    configured: Path, environment: dict[str, str], is_text: bool
) -> None:
    written = await asyncio.to_thread(migrate_on_a_terminal, configured, environment)
    assert bool(TEXT.fullmatch(written)) is is_text
    assert written.startswith("{") is not is_text


def migrate_on_a_terminal(directory: Path, environment: Mapping[str, str]) -> str:
    """What `realtime migrate` writes to standard error where that is a terminal."""
    ours, its = pty.openpty()
    words = (REALTIME, "migrate", "--config", "realtime.toml")
    try:
        subprocess.run(
            words,
            cwd=directory,
            env=clean_environment(environment),
            stdout=subprocess.DEVNULL,
            stderr=its,
            check=True,
            timeout=60,
        )
    finally:
        os.close(its)
    written = b""
    with suppress(OSError):  # EIO is how a terminal says that nobody writes to it any more
        while piece := os.read(ours, 65_536):
            written += piece
    os.close(ours)
    return written.decode().strip()


async def test_the_children_of_a_process_log_as_it_does(configured: Path) -> None:
    port = free_port()
    words = ("--log-format", "text", "--log-level", "debug", "gateway", "--workers", 2, "--port", port)
    place = ("--config", "realtime.toml", "--host", "127.0.0.1")
    async with running(*words, *place, directory=configured) as program:
        await program.says(" INFO     gateway.app process_started ", times=2)
        url = f"http://127.0.0.1:{port}/projects/demo/realtime/status"
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            assert answer.status == 401
        await program.says(" DEBUG    gateway.http.middlewares request_refused ")
        assert program.log == []


async def test_connections_are_told_apart(gateway: Gateway, everything: pytest.LogCaptureFixture) -> None:
    async with gateway.client() as first, gateway.client() as second:
        ids = [client.connected["connection_id"] for client in (first, second)]
        assert [one["connection_id"] for one in logged(everything, "connection_opened")] == ids
    await eventually(lambda: len(logged(everything, "connection_closed")) == 2)
    for event in ("connection_opened", "connection_closed"):
        found = logged(everything, event)
        assert {one["connection_id"] for one in found} == set(ids)
        assert {one["project"] for one in found} == {"demo"}
        assert len({one["request_id"] for one in found}) == 2
        assert len({one["node"] for one in found}) == 1


async def test_what_a_node_does_by_itself_has_no_ids(
    gateway: Gateway, everything: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway.client():
        everything.clear()
        monkeypatch.setattr("gateway.presence.node.Node._renew", unavailable)
        (found, *_) = await eventually(lambda: logged(everything, "node_not_renewed"))
    assert found.keys() == {"error", "node"}


async def unavailable(*_: object) -> bool:
    raise Unavailable("Redis cannot be reached now")


async def test_a_refusal_at_the_door_is_told_with_its_code_and_whence(
    gateway: Gateway, everything: pytest.LogCaptureFixture
) -> None:
    token = token_for(ttl=-60)
    async with gateway.socket(token=token, headers={"X-Request-Id": "from-a-proxy"}) as client:
        assert (await client.is_refused())[0] == "token_expired"
    (refused,) = logged(everything, "connection_refused")
    assert (
        refused.items()
        >= {
            "code": "token_expired",
            "address": "127.0.0.1",
            "request_id": "from-a-proxy",
            "project": "demo",
        }.items()
    )
    assert "connection_id" not in refused


async def test_an_answer_names_the_id_under_which_it_is_logged(
    gateway: Gateway, everything: pytest.LogCaptureFixture
) -> None:
    _, _, first = await gateway.rest("GET", "/status")
    _, _, second = await gateway.rest("GET", "/status", headers={"X-Request-Id": "a.B-c_9"})
    _, _, third = await gateway.rest("GET", "/status", project="nowhere")
    ids = [headers["X-Request-Id"] for headers in (first, second, third)]
    refused = logged(everything, "request_refused")
    assert [one["request_id"] for one in refused] == ids
    assert ids[1] == "a.B-c_9"
    assert len(set(ids)) == 3
    # One connection may carry all three: nothing of a request stays for the next one.
    assert [one.get("project") for one in refused] == ["demo", "demo", None]
    assert [one["code"] for one in refused] == ["unauthorized", "unauthorized", "not_found"]


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "ü", "a/b", 'a"', "<script>"])
async def test_an_id_that_is_not_sane_is_replaced(gateway: Gateway, given: str) -> None:
    _, _, headers = await gateway.rest("GET", "/status", headers={"X-Request-Id": given})
    assert re.fullmatch(r"[0-9a-f]{16}", headers["X-Request-Id"])


async def test_every_answer_has_an_id(gateway: Gateway) -> None:
    for path in ("/healthz", "/readyz", "/openapi.json", "/nowhere", "/projects/demo/realtime/ws"):
        async with gateway.http.get(gateway.url + path) as answer:
            assert answer.headers["X-Request-Id"], path


async def test_an_error_that_nobody_foresaw_is_told_with_its_request(
    settings: Settings, everything: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: Node) -> None:
        raise ZeroDivisionError

    async with running_gateway(settings, expected_errors=1) as gateway:
        monkeypatch.setattr("gateway.presence.node.Node.all_reports", fail)
        status, _, headers = await gateway.rest("GET", "/status", token_for())
    assert status == 500
    (failed,) = logged(everything, "request_failed")
    assert failed["request_id"] == headers["X-Request-Id"]
    assert (failed["project"], failed["method"]) == ("demo", "GET")
    assert failed["endpoint"] == "/projects/{project_id}/realtime/status"
    assert failed["exception"].endswith("ZeroDivisionError")


async def test_keys_are_fetched_under_nobodys_id(everything: pytest.LogCaptureFixture) -> None:
    """One client causes it, all of the project wait for it."""
    url = f"http://127.0.0.1:{free_port()}/jwks.json"
    project = Project(database_url="postgresql://x/y", jwks_url=url)

    key = ec.generate_private_key(ec.SECP256R1())
    token = jwt.encode({"exp": 2_000_000_000}, key, "ES256", headers={"kid": "unknown"})
    async with aiohttp.ClientSession() as http:
        ring = KeyRing.of("demo", project, http)
        with bound_contextvars(connection_id="of who came first", request_id="r"), pytest.raises(Unavailable):
            await ring.verify(token, 0)
        await ring.close()
    (failed,) = logged(everything, "jwks_fetch_failed")
    assert failed.keys() == {"project", "error", "keys_count"}
