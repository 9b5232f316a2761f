"""The nginx of the compose file, in front of two gateways: clients notice it in nothing but the address.

Its configuration is the one that is deployed; only the lines in `replaced` are others here. Some clients come
from 127.0.0.2, since gateways cannot tell nginx from a client that has its address.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.http.middlewares import MAX_BODY_BYTES
from realtime.auth.tokens import SERVICE_ROLE
from realtime.process.http_protocol import MAX_LINE_BYTES
from realtime.settings.config import Settings
from tests.acceptance.conftest import Stage
from tests.acceptance.followers import Follower, Writer, expect_everything_once, finish
from tests.acceptance.programs import START_SECONDS, client_of, psql, running
from tests.acceptance.served import LOCAL, Served, get, is_ready, served
from tests.acceptance.test_rolling_restart import everybody_hears_more
from tests.docs_fixture import ROOT
from tests.gateway_fixture import Client, eventually, token_for
from tests.ports import free_port

CONFIGURATION = (ROOT / "deploy/nginx.conf").read_text()
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
ELSEWHERE = "127.0.0.2"
LIE = {"X-Forwarded-For": "203.0.113.9"}
NOBODY = 65_534
CLIENTS = 20

needs_nginx = pytest.mark.skipif(
    NGINX is None and os.environ.get("CI") != "true", reason="there is no nginx on this machine"
)


@dataclass(frozen=True)
class Proxy:
    """A running nginx, and what it wrote so far."""

    url: str
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text()


def replaced(port: int, gateways: list[int]) -> str:
    """The deployed configuration with other addresses; Debian's nginx is too old for `resolve`."""
    text = CONFIGURATION
    for line, ours in (
        ("        listen 8080;  # (*)\n", f"listen 127.0.0.1:{port};\n"),
        *(
            (
                f"        server gateway-{number}:8000 resolve max_fails=0;  # (*)\n",
                f"server 127.0.0.1:{gateway} max_fails=0;\n",
            )
            for number, gateway in enumerate(gateways, 1)
        ),
    ):
        assert text.count(line) == 1, f"deploy/nginx.conf has not this line once: {line}"
        text = text.replace(line, ours)
    assert text.count("# (*)\n") == 0, "a line is marked and not replaced"
    return text


@contextmanager
def directory_of_nobody() -> Iterator[Path]:
    """A directory that nginx may write to though it is not root; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="nginx-") as name:
        if os.geteuid() == 0:
            os.chown(name, NOBODY, NOBODY)
        yield Path(name)


@asynccontextmanager
async def nginx(gateways: list[int]) -> AsyncIterator[Proxy]:
    """Run nginx as compose does, until it listens; it must log no token."""
    assert NGINX is not None, "CI needs nginx: see .ci/run"
    port = free_port()
    with directory_of_nobody() as directory:
        proxy = Proxy(f"http://127.0.0.1:{port}", directory / "log")
        configuration = directory / "nginx.conf"
        configuration.write_text(replaced(port, gateways))
        process = start(directory, configuration, proxy.log)
        try:
            await eventually(lambda: answers(proxy, process), START_SECONDS)
            yield proxy
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, START_SECONDS)
        assert "eyJ" not in proxy.said, proxy.said
        assert "[emerg]" not in proxy.said, proxy.said


def start(directory: Path, configuration: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start it as compose does: told where it may write, in the foreground, not as root."""
    words = (str(NGINX), "-p", directory, "-e", "stderr", "-c", configuration, "-g", "daemon off;")
    log.touch()
    whose: dict[str, Any] = {}
    if os.geteuid() == 0:
        whose = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        os.chown(log, NOBODY, NOBODY)
    with log.open("ab") as output:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **whose)


async def answers(proxy: Proxy, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, proxy.said
    return (await get(f"{proxy.url}/healthz"))[0] == 200


@asynccontextmanager
async def behind_nginx(stage: Stage, drain_seconds: float = 0) -> AsyncIterator[tuple[Served, Proxy]]:
    stage.write('trusted_proxies = ["127.0.0.1"]', drain_seconds=drain_seconds)
    async with served(stage, nodes=2) as parts, nginx(parts.ports) as proxy:
        yield parts, proxy


@needs_nginx
async def test_websockets_and_rest_go_through_to_both_gateways(messages: Stage) -> None:
    async with behind_nginx(messages) as (_, proxy), AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client_of(proxy.url, token_for())) for _ in range(4)]
        for client in clients:
            await client.subscribe("table:messages")
        await psql(messages.database_url, "insert into messages (body) values ('through')")
        for client in clients:
            assert (await client.hear())["data"]["body"] == "through"
        code, body = await get(f"{proxy.url}/projects/demo/realtime/connections")
        assert code == 200, body
        assert len(set(re.findall(r'"node":"(\w+)"', body))) == 2
        code, body = await post(proxy, {"channel": "room:lobby", "payload": "x" * 60_000})
        assert (code, body) == (202, '{"accepted":1}')


@needs_nginx
async def test_what_is_too_big_is_refused_in_the_words_of_the_gateway(messages: Stage) -> None:
    async with behind_nginx(messages) as (_, proxy):
        code, body = await post(proxy, {"channel": "room:lobby", "payload": "x" * 65_537})
        assert (code, "message_too_big" in body) == (413, True)


@needs_nginx
@pytest.mark.parametrize("given", [None, "mine-1", "not one of ours"])
async def test_nginx_logs_a_request_by_the_id_that_the_gateway_answers_with(
    messages: Stage, given: str | None
) -> None:
    async with behind_nginx(messages) as (_, proxy), aiohttp.ClientSession() as http:
        headers = {} if given is None else {"X-Request-Id": given}
        async with http.get(f"{proxy.url}/healthz", headers=headers) as answer:
            answered = answer.headers["X-Request-Id"]
        assert (answered == given) is (given == "mine-1")
        await eventually(lambda: answered in proxy.said)
        assert (await get(f"{proxy.url}/readyz"))[0] == 404, "nobody's business out there"


@needs_nginx
async def test_who_asks_by_rest_too_often_is_told_so_and_nobody_else_notices(messages: Stage) -> None:
    async with behind_nginx(messages) as (_, proxy), AsyncExitStack() as stack:
        url = f"{proxy.url}/projects/demo/realtime/status"
        headers = {"Authorization": f"Bearer {token_for()}"}
        connector = aiohttp.TCPConnector(local_addr=(ELSEWHERE, 0), limit=20)
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=connector, headers=headers))

        async def ask() -> tuple[int, str, str | None]:
            async with http.get(url) as answer:
                return answer.status, await answer.text(), answer.headers.get("Retry-After")

        refused: set[tuple[int, str, str | None]] = set()
        async with asyncio.timeout(START_SECONDS):
            while not refused:
                answers = set(await asyncio.gather(*(ask() for _ in range(200))))
                refused = {one for one in answers if one[0] != 200}
        ((code, body, retry_after),) = refused
        assert (code, json.loads(body)["error"]["code"], retry_after) == (429, "rate_limited", "1")
        assert (await get(url))[0] == 200, "another address"
        for _ in range(150):
            client = await stack.enter_async_context(client_from(ELSEWHERE, proxy, {}))
            assert client.connected["type"] == "connected"


async def post(proxy: Proxy, message: dict[str, Any]) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {token_for(role=SERVICE_ROLE)}"}
    address = f"{proxy.url}/projects/demo/realtime/broadcast"
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(address, json=message) as answer,
    ):
        return answer.status, await answer.text()


@needs_nginx
@pytest.mark.parametrize(
    ("address", "claims"),
    [
        pytest.param(ELSEWHERE, {}, id="a client that claims nothing"),
        pytest.param(ELSEWHERE, LIE, id="a liar"),
        # The gateways believe what this address says of others: nginx must not hand it on.
        pytest.param("127.0.0.1", LIE, id="a liar beside nginx"),
    ],
)
async def test_the_history_has_the_address_of_the_client_whatever_it_claims(
    messages: Stage, address: str, claims: dict[str, str]
) -> None:
    async with behind_nginx(messages) as (_, proxy):
        async with client_from(address, proxy, claims) as client:
            connection_id = client.connected["connection_id"]
        assert await eventually(lambda: address_of(proxy, connection_id)) == address


@asynccontextmanager
async def client_from(address: str, proxy: Proxy, headers: dict[str, str]) -> AsyncIterator[Client]:
    url = f"{proxy.url}/projects/demo/realtime/ws?token={token_for()}"
    connector = aiohttp.TCPConnector(local_addr=(address, 0))
    async with (
        aiohttp.ClientSession(connector=connector, headers=headers) as http,
        http.ws_connect(url) as web_socket,
    ):
        client = Client(web_socket)
        client.connected = await client.hear()
        yield client


async def address_of(proxy: Proxy, connection_id: str) -> str | None:
    """The address that the history has for a connection; None while it has none."""
    _, body = await get(f"{proxy.url}/projects/demo/realtime/connections")
    entry = re.search(rf'{{[^}}]*"connection_id":"{connection_id}"[^}}]*"ip":"([^"]*)"', body)
    return entry[1] if entry else None


@needs_nginx
async def test_clients_lose_nothing_when_the_gateways_behind_it_are_restarted(messages: Stage) -> None:
    """And nobody gets a 502: a follower takes no HTTP error for an answer."""
    async with behind_nginx(messages, drain_seconds=2) as (parts, proxy), AsyncExitStack() as restarted:
        followers, writer = [Follower([proxy.url]) for _ in range(CLIENTS)], Writer("writer")
        async with asyncio.TaskGroup() as tasks:
            for follower in followers:
                tasks.create_task(follower.follow(), name="follower")
            await eventually(lambda: all(follower.since for follower in followers), START_SECONDS)
            writing = tasks.create_task(writer.write(messages.database_url), name=writer.name)
            for number, gateway in enumerate(parts.gateways):
                await everybody_hears_more(followers)
                assert await gateway.stop() == 0
                await newcomers_get_in(proxy)
                words = ("gateway", "--port", parts.ports[number], "--config", messages.config, *LOCAL)
                successor = await restarted.enter_async_context(running(*words, directory=messages.directory))
                await successor.does(lambda number=number: is_ready(parts.urls[number]))
            await finish(messages.database_url, [writer], [writing])
        expect_everything_once(followers, [writer])
        assert all(follower.came_back for follower in followers)
        assert all(recovered for follower in followers for recovered in follower.came_back)
        assert not any(follower.resyncs for follower in followers)
        assert "502, 101" in proxy.said, "no gateway was away when it was its turn"


async def newcomers_get_in(proxy: Proxy) -> None:
    """Though it is a gateway's turn that is away."""
    for _ in range(4):
        async with client_of(proxy.url, token_for()):
            pass


def test_its_bounds_are_not_narrower_than_those_of_the_program() -> None:
    heartbeat = Settings().heartbeat_seconds
    web_socket = CONFIGURATION.partition("realtime/ws$ {")[2]
    for name in ("proxy_read_timeout", "proxy_send_timeout", "send_timeout"):
        assert int(value_of(name, web_socket).removesuffix("s")) > 2 * heartbeat
    assert int(value_of("client_max_body_size").removesuffix("m")) * 1_048_576 >= MAX_BODY_BYTES
    assert int(value_of("large_client_header_buffers").split()[1].removesuffix("k")) * 1024 > MAX_LINE_BYTES


def value_of(directive: str, text: str = CONFIGURATION) -> str:
    values: list[str] = re.findall(rf"^ *{directive} ([^;]+);", text, re.MULTILINE)
    assert len(values) == 1, (directive, values)
    return values[0]
