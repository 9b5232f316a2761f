"""A notifier and gateways that are started by hand, until a change of `messages` would be delivered."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from realtime.auth.tokens import SERVICE_ROLE
from tests.acceptance.conftest import Stage
from tests.acceptance.programs import Program, running
from tests.gateway_fixture import token_for
from tests.ports import free_port

LOCAL = ("--host", "127.0.0.1")


async def get(url: str) -> tuple[int, str]:
    """Status and body, as the service may see it; status 0 while nobody listens."""
    headers = {"Authorization": f"Bearer {token_for(role=SERVICE_ROLE)}"}
    try:
        async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
            return answer.status, await answer.text()
    except aiohttp.ClientConnectionError:
        return 0, ""


async def status(url: str) -> dict[str, Any]:
    code, body = await get(f"{url}/projects/demo/realtime/status")
    assert code == 200, body
    return json.loads(body)


async def is_ready(url: str) -> bool:
    return (await get(f"{url}/readyz"))[0] == 200


async def enable(url: str, table: str, project: str = "demo") -> None:
    await _post(f"{url}/projects/{project}/realtime/enable", project, table_name=table)


async def disconnect(url: str, **body: Any) -> None:
    await _post(f"{url}/projects/demo/realtime/disconnect", "demo", **body)


async def _post(address: str, project: str, **body: Any) -> None:
    headers = {"Authorization": f"Bearer {token_for(project, role=SERVICE_ROLE)}"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(address, json=body) as answer,
    ):
        assert answer.ok, await answer.text()


@dataclass(frozen=True)
class Served:
    """The parts that run, and where: a port of each gateway."""

    notifier: Program
    gateways: list[Program]
    ports: list[int]

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    @property
    def url(self) -> str:
        return self.urls[0]

    @property
    def gateway(self) -> Program:
        return self.gateways[0]


@asynccontextmanager
async def served(
    stage: Stage,
    *gateway_words: object,
    nodes: int = 1,
    notifier_words: tuple[object, ...] = (),
    environment: dict[str, str] | None = None,
) -> AsyncIterator[Served]:
    """Run them by the stage's file, or by an environment alone."""
    ports = [free_port() for _ in range(nodes)]
    more = ("--config", stage.config, *LOCAL) if environment is None else LOCAL
    place: dict[str, Any] = {"directory": stage.directory, "environment": environment or {}}
    async with AsyncExitStack() as stack:
        notifier = await stack.enter_async_context(running("notifier", *more, *notifier_words, **place))
        gateways = [
            await stack.enter_async_context(
                running("gateway", "--port", port, *more, *gateway_words, **place)
            )
            for port in ports
        ]
        served = Served(notifier, gateways, ports)
        for gateway, url in zip(gateways, served.urls, strict=True):
            await gateway.does(lambda url=url: is_ready(url))
        await enable(served.url, "messages")
        await notifier.tells("feed_state_changed", project="demo", state="live")
        yield served
