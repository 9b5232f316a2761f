"""The stage of the chaos suite: two gateways, two notifiers, a Postgres, and a Redis of one of three kinds.

Every connection between them goes through a link of its own; only writers connect directly to Postgres. Load
and faults use these parts. The stage judges only how processes end and what they log.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp

from realtime.auth.tokens import DEFAULT_ROLE, SERVICE_ROLE, issue
from tests.acceptance.programs import clean_environment
from tests.chaos.bundle import Way
from tests.chaos.database import Database
from tests.chaos.link import Link
from tests.chaos.process import Process
from tests.chaos.redis_fleet import Fleet, cluster_fleet, sentinel_fleet
from tests.chaos.redis_pair import RedisPair
from tests.gateway_fixture import eventually
from tests.ports import free_ports

PROJECT = "demo"
SECRET = "a secret of more than thirty-two bytes"
TOKEN_SECONDS = 24 * 3600.0
NODES = (1, 2)
PRESENCE_TTL_SECONDS = 4
DRAIN_SECONDS = 2
STOP_SECONDS = DRAIN_SECONDS + 15.0  # from SIGTERM to the end, whatever is away meanwhile
READY_SECONDS = 60.0  # for a change to be delivered after the start, on a busy machine
TOP = f"""\
presence_ttl_seconds = {PRESENCE_TTL_SECONDS}
heartbeat_seconds = 2
drain_seconds = {DRAIN_SECONDS}
poll_seconds = 1
"""


class Stage:
    """The parts on which load and faults work."""

    def __init__(self, directory: Path, source: Path | None, redis: str, min_replicas: int) -> None:
        self.directory = directory
        self.complaints: list[str] = []  # about processes that ended unexpectedly, and about logs
        self._environment = clean_environment({"PYTHONPATH": str(source)} if source else {})
        postgres, first, second, *gateways = free_ports(3 + len(NODES))
        self.database = Database(directory / "postgres", postgres)
        self.redis: RedisPair | Fleet
        match redis:
            case "cluster":
                self.redis = cluster_fleet(directory / "redis", min_replicas)
            case "sentinel":
                self.redis = sentinel_fleet(directory / "redis", min_replicas)
            case _:
                self.redis = RedisPair(directory / "redis", (first, second))
        # By the two ends, such as `gateway-redis`; each process has its own links.
        self.links: dict[str, list[Way]] = {
            f"{program}-{server}": [way(f"{program}-{node} to {server}") for node in NODES]
            for program in ("gateway", "notifier")
            for server, way in (("redis", self.redis.way), ("postgres", self._to_postgres))
        }
        self.links["client-gateway"] = [
            Link(f"clients to gateway-{node}", port) for node, port in zip(NODES, gateways, strict=True)
        ]
        self.gateways = [
            self._process("gateway", node, ["--port", str(port)])
            for node, port in zip(NODES, gateways, strict=True)
        ]
        self.notifiers = [self._process("notifier", node, []) for node in NODES]
        self.before_restore: Callable[[], None] = lambda: None  # the database is about to go back in time
        self.after_restore: Callable[[], None] = lambda: None

    def __repr__(self) -> str:
        return f"<Stage {self.directory}>"

    def _to_postgres(self, name: str) -> Way:
        return Link(name, self.database.port)

    def _process(self, program: str, node: int, more: list[str]) -> Process:
        config = self.directory / f"{program}-{node}.toml"
        words = [program, "--config", str(config), "--host", "127.0.0.1", *more]
        return Process(
            f"{program}-{node}",
            words,
            self.directory,
            self._environment,
            STOP_SECONDS,
            self.complaints.append,
        )

    @property
    def database_url(self) -> str:
        """The superuser's URL, without a link."""
        return self.database.url

    @property
    def gateway_urls(self) -> list[str]:
        """The URLs to which clients connect."""
        return [f"http://127.0.0.1:{_port(link)}" for link in self.links["client-gateway"]]

    def token(self, sub: str, service: bool = False) -> str:
        role = SERVICE_ROLE if service else DEFAULT_ROLE
        return issue(SECRET, PROJECT, sub, role, TOKEN_SECONDS, time.time())

    async def enable(self, table: str) -> None:
        """Enable realtime on a table of schema public, on any node that answers."""
        headers = {"Authorization": f"Bearer {self.token('admin', service=True)}"}
        async with aiohttp.ClientSession(headers=headers) as http:

            async def enabled() -> bool:
                for url in self.gateway_urls:
                    address = f"{url}/projects/{PROJECT}/realtime/enable"
                    try:
                        async with http.post(address, json={"table_name": table}) as answer:
                            if answer.status == 200:
                                return True
                    except aiohttp.ClientConnectionError:
                        pass
                return False

            await eventually(enabled, READY_SECONDS)

    def write_settings(self) -> None:
        """Write the settings of each process: they differ only in the links."""
        for program in ("gateway", "notifier"):
            for index, node in enumerate(NODES):
                redis = self.redis.url(self.links[f"{program}-redis"][index])
                database = self.database.at(_port(self.links[f"{program}-postgres"][index]))
                lines = (
                    f"redis_url = {json.dumps(redis)}",
                    TOP + f"[projects.{PROJECT}]",
                    f"database_url = {json.dumps(database)}",
                    f"jwt_secret = {json.dumps(SECRET)}",
                )
                (self.directory / f"{program}-{node}.toml").write_text("\n".join(lines) + "\n")

    async def is_ready(self) -> bool:
        """Tell whether all gateways deliver what they get from Redis."""
        async with aiohttp.ClientSession() as http:
            for url in self.gateway_urls:
                try:
                    async with http.get(f"{url}/readyz") as answer:
                        if answer.status != 200:
                            return False
                except aiohttp.ClientConnectionError:
                    return False
        return True


@asynccontextmanager
async def staged(
    directory: Path, redis: str, min_replicas: int = 0, source: Path | None = None
) -> AsyncIterator[Stage]:
    """Start all parts, with this kind of Redis, and stop them; `source` is another tree to run.

    After the block `complaints` has what processes did wrong by themselves.
    """
    stage = Stage(directory, source, redis, min_replicas)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(stage.database.stop)
        await stage.database.start()
        await stage.database.create()
        await stack.enter_async_context(stage.redis.running())
        for link in (link for links in stage.links.values() for link in links):
            await stack.enter_async_context(link.listening())
        stage.write_settings()
        for process in (*stage.gateways, *stage.notifiers):
            stack.push_async_callback(process.stop)
            await process.start()
        await eventually(stage.is_ready, READY_SECONDS)
        yield stage
    for process in (*stage.gateways, *stage.notifiers):
        process.look_through_log()


def _port(way: Way) -> int:
    assert isinstance(way, Link)
    return way.port
