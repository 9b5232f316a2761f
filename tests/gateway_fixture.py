"""A gateway of a test's own, in this process and on a free port, with clients that wait by deadlines.

`tests/conftest.py` names it as a plugin. What is logged while a gateway runs is looked at when it stops: no
error that nobody foresaw, and no token on any level.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import asyncpg
import pytest

from gateway import app, metrics
from gateway.delivery.timings import DeliveryTimings
from gateway.timings import DEFAULTS, Timings
from notifier import app as notifier_app
from notifier.timings import DEFAULTS as NOTIFIER_DEFAULTS
from notifier.timings import Timings as NotifierTimings
from realtime.auth.tokens import issue
from realtime.process.reload import Reloads
from realtime.settings.config import Limits, Project, Settings
from tests.change_stream import DEADLINE, Publisher, background, publisher_to, streaming
from tests.clean_log import clean_log
from tests.condition import Condition
from tests.ports import free_port

# Of gateways that see soon that a server of Redis is gone, and come back soon.
QUICK_REDIS = Timings(
    delivery=DeliveryTimings(probe_seconds=0.2, first_retry_seconds=0.02, last_retry_seconds=0.1)
)
SECRET = "a secret of more than thirty-two bytes"
CLOSED = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED)


def token_for(
    project: str = "demo",
    sub: str | None = "alice",
    role: str = "authenticated",
    ttl: float = 86_400,
    **more: Any,
) -> str:
    return issue(SECRET, project, sub, role, ttl, time.time(), **more)


def settings_for(
    database_url: str,
    redis_url: str,
    *,
    limits: Limits | None = None,
    origins: list[str] | None = None,
    **more: Any,
) -> Settings:
    """Settings of two projects, `demo` and `other`, on the same database; nodes leave without draining."""
    project = Project(
        database_url=database_url,
        jwt_secret=SECRET,
        allowed_origins=origins or [],
        limits=limits or Limits(),
    )
    more = {"drain_seconds": 0, **more}
    return Settings(redis_url=redis_url, projects={"demo": project, "other": project}, **more)


async def eventually(true: Condition, deadline: float = DEADLINE) -> Any:
    """Wait until it is true; return what it was then."""
    async with asyncio.timeout(deadline):
        while True:
            found: Any = true()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.01)


async def stays(true: Condition, seconds: float, pause: float = 0.05) -> None:
    """Assert at every look that it is true, for so long; the last look is after that time."""
    clock = asyncio.get_running_loop()
    until = clock.time() + seconds
    is_over = False
    while not is_over:
        is_over = clock.time() >= until
        found: Any = true()
        if asyncio.iscoroutine(found):
            found = await found
        assert found, f"no longer true after {clock.time() - until + seconds:.2f} of {seconds:g} s"
        await asyncio.sleep(pause)


@dataclass
class Client:
    """A well-behaved client of one WebSocket."""

    web_socket: aiohttp.ClientWebSocketResponse
    connected: dict[str, Any] = field(default_factory=dict)  # its first message

    async def say(self, /, **message: Any) -> None:
        await self.web_socket.send_json(message)

    async def ask(self, /, **message: Any) -> dict[str, Any]:
        await self.say(**message)
        return await self.hear()

    async def ask_raw(self, text: str) -> dict[str, Any]:
        await self.web_socket.send_str(text)
        return await self.hear()

    async def subscribe(self, channel: str, **more: Any) -> dict[str, Any]:
        answer = await self.ask(type="subscribe", channel=channel, **more)
        assert answer["type"] == "subscribed", answer
        return answer

    async def hear(self) -> dict[str, Any]:
        frame = await self.web_socket.receive(DEADLINE)
        assert frame.type is aiohttp.WSMsgType.TEXT, f"{frame} instead of a message"
        return json.loads(frame.data)

    async def hear_rows(self, count: int) -> list[int]:
        """The ids of the rows in the next messages, which are all changes."""
        return [(await self.hear())["data"]["id"] for _ in range(count)]

    async def hear_close(self) -> int:
        """The code with which the server ends it, and nothing before that."""
        frame = await self.web_socket.receive(DEADLINE)
        assert frame.type in CLOSED, f"{frame} instead of a close"
        assert self.web_socket.close_code is not None
        return self.web_socket.close_code

    async def is_sent_away(self) -> int:
        """The code with which a draining node ends it, which said so before."""
        assert (await self.hear())["type"] == "reconnect"
        return await self.hear_close()

    async def is_refused(self) -> tuple[str, int]:
        """The code of the error that comes next, and of the close after it."""
        error = await self.hear()
        assert error["type"] == "error", error
        return error["code"], await self.hear_close()


@dataclass
class Gateway:
    """A running gateway as its clients see it."""

    settings: Settings
    port: int
    http: aiohttp.ClientSession
    internal_port: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def socket(
        self, project: str = "demo", token: str | None = None, **more: Any
    ) -> AsyncIterator[Client]:
        """Open a WebSocket, whatever comes of it."""
        url = f"{self.url}/projects/{project}/realtime/ws" + (f"?token={token}" if token is not None else "")
        async with self.http.ws_connect(url, max_msg_size=0, **more) as web_socket:
            yield Client(web_socket)

    @asynccontextmanager
    async def client(self, token: str | None = None, **more: Any) -> AsyncIterator[Client]:
        """Open a WebSocket and get in."""
        async with self.socket(token=token or token_for(), **more) as client:
            client.connected = await client.hear()
            assert client.connected["type"] == "connected", client.connected
            yield client

    async def rest(
        self, method: str, path: str, token: str | None = None, project: str = "demo", **more: Any
    ) -> tuple[int, Any, Any]:
        """Status, body and headers; `path` without its beginning."""
        if token is not None:
            more.setdefault("headers", {})["Authorization"] = f"Bearer {token}"
        url = f"{self.url}/projects/{project}/realtime{path}"
        async with self.http.request(method, url, **more) as response:
            text = await response.text()
            return response.status, json.loads(text) if text else None, response.headers

    async def is_ready(self) -> bool:
        """Whether messages are being delivered; until then a broadcast is refused."""
        async with self.http.get(f"{self.url}/readyz") as response:
            return response.status == 200

    async def enable(self, table_name: str, **more: Any) -> Any:
        body = {"table_name": table_name, **more}
        status, answer, _ = await self.rest("POST", "/enable", token_for(role="service_role"), json=body)
        assert status == 200, answer
        return answer


@asynccontextmanager
async def running_gateway(
    settings: Settings,
    *,
    internal: bool = False,
    expected_errors: int = 0,
    reloads: Reloads | None = None,
    timings: Timings = DEFAULTS,
) -> AsyncIterator[Gateway]:
    _begin_gauges(settings)
    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    internal_port = free_port() if internal else None
    serve = app.run(
        settings,
        "127.0.0.1",
        0,
        internal_port,
        on_listening=listening.set_result,
        reloads=reloads,
        timings=timings,
    )
    task = asyncio.create_task(serve, name="gateway")
    with clean_log(expected_errors):
        async with background(task), aiohttp.ClientSession() as http:
            await asyncio.wait((task, listening), return_when=asyncio.FIRST_COMPLETED, timeout=DEADLINE)
            if task.done():
                await task
            yield Gateway(settings, listening.result(), http, internal_port)


def _begin_gauges(settings: Settings) -> None:
    """Set the gauges to 0 that a former gateway of this process left behind."""
    for gauge in (metrics.queue_bytes, metrics.largest_queue_bytes, metrics.owed):
        gauge.set(0)
    for gauge in (metrics.connections, metrics.subscriptions, metrics.presences, metrics.topics):
        for project in settings.projects:
            gauge.labels(project).set(0)


@asynccontextmanager
async def running_notifier(
    settings: Settings, notifier_timings: NotifierTimings = NOTIFIER_DEFAULTS
) -> AsyncIterator[None]:
    serve = notifier_app.run(settings, "127.0.0.1", None, timings=notifier_timings)
    async with background(asyncio.create_task(serve, name="notifier")):
        yield


@pytest.fixture
async def settings(database_url: str, redis_url: str) -> Settings:
    return settings_for(database_url, redis_url)


@pytest.fixture
def timings() -> Timings:
    """The timings of the test's gateway; a test file may have a fixture of this name with others."""
    return DEFAULTS


@pytest.fixture
async def gateway(settings: Settings, timings: Timings) -> AsyncIterator[Gateway]:
    async with running_gateway(settings, timings=timings) as gateway:
        await eventually(gateway.is_ready)
        yield gateway


@pytest.fixture
async def publisher(settings: Settings) -> AsyncIterator[Publisher]:
    async with publisher_to(settings) as publisher:
        yield publisher


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[Any]:
    """A superuser's session in the project's database, with tables orders and users."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("create table orders (id bigint primary key, note text)")
        await connection.execute("create table users (id bigint primary key, name text)")
        yield connection
    finally:
        await connection.close(timeout=30)


@pytest.fixture
async def bystander(gateway: Gateway, publisher: Publisher) -> AsyncIterator[None]:
    """Another client, whose stream of changes must go on complete and in order while the test runs."""
    async with gateway.client() as client, streaming(client, publisher):
        yield
