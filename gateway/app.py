"""The gateway's composition root.

Read `Gateway.__init__` (which parts exist), `_tasks` (what runs), then `run`. Each part gets parts that were
made before it: settings → Redis → projects → send queues → node → hub → delivery from Redis → presence and
broadcasts to Redis → admission and connections → memory. At the end a gateway drains its clients, closes its
ports, tells Redis how the connections ended, stops all tasks, and closes the projects.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from ipaddress import ip_network

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Middleware
from structlog.contextvars import bound_contextvars

from gateway import metrics
from gateway.broker import Broker
from gateway.delivery.empty_topics import EmptyTopics
from gateway.delivery.fanout import Fanout
from gateway.delivery.recovery import Recovery
from gateway.delivery.redis_subscription import SubscriptionOptions
from gateway.delivery.stages import Outlet, Stages
from gateway.delivery.subscribe import Subscriptions
from gateway.delivery.topic_subscriptions import TopicSubscriptions
from gateway.fleet.answering import Answering
from gateway.fleet.asking import Asking
from gateway.fleet.fleet import Fleet
from gateway.http import openapi, routes
from gateway.http.context import Services
from gateway.http.demo import demo_routes
from gateway.http.gate import Gate
from gateway.http.middlewares import MAX_BODY_BYTES, cors, errors_as_json, limited, preflights
from gateway.http.pages import page_routes
from gateway.http.presence_lists import PresenceLists
from gateway.http.refusals import Surface
from gateway.http.request import Proxies
from gateway.http.request_ids import request_ids
from gateway.http.request_metrics import counted
from gateway.http.server import listening
from gateway.hub.hub import Hub
from gateway.hub.replay_cache import ReplayBudget
from gateway.memory.answers import Answers
from gateway.memory.budget import PUBLISH_SHARE, REPLAY_SHARE
from gateway.memory.guard import Holders, MemoryGuard
from gateway.presence.cleanup import clean_up
from gateway.presence.connection_log import ConnectionLog
from gateway.presence.heartbeat_store import HeartbeatStore
from gateway.presence.heartbeats import Heartbeats
from gateway.presence.node import Node
from gateway.presence.pending import Pending
from gateway.presence.stores import Stores
from gateway.presence.writer import PresenceWriter
from gateway.projects.project import Tenant, warn_of_shared_keys
from gateway.projects.rate_limit import Rates
from gateway.publish.publisher import BroadcastPublisher, PublishBounds
from gateway.timestamps import rfc3339
from gateway.timings import DEFAULTS, Timings
from gateway.websocket.connection import Serving
from gateway.websocket.connections import Connections, keep_ticking
from gateway.websocket.disconnecting import Disconnecting
from gateway.websocket.drain import drain
from gateway.websocket.gauges import keep_measuring
from gateway.websocket.handshake import Handshake
from gateway.websocket.local_clients import LocalClients
from gateway.websocket.publishing import RedisWriters
from gateway.websocket.reload import ProjectReload
from gateway.wire.native import NativeCodec
from gateway.wire.queue_writer import QueueWriter
from gateway.wire.send_queue import SendQueue
from realtime import __version__
from realtime.logs.setup import get_logger
from realtime.process.health import health_routes, in_public, internal_http
from realtime.process.memory_limit import default_budget
from realtime.process.readiness import watch_readiness
from realtime.process.reload import Reloads
from realtime.redis.client import Store, connect
from realtime.settings.config import Settings
from realtime.waiting.survival import Part

log = get_logger(__name__)

_part = Part("gateway")

SOCKET_PATH = routes.PREFIX + "/ws"
# Paths without REST rates: the WebSocket has its own rates, the other paths report health.
FREE = frozenset({SOCKET_PATH, "/healthz", "/readyz"})

Task = Callable[[], Awaitable[None]]


async def run(
    settings: Settings,
    host: str,
    port: int,
    internal_port: int | None = None,
    *,
    reuse_port: bool = False,
    on_listening: Callable[[int], None] = lambda port: None,
    reloads: Reloads | None = None,
    timings: Timings = DEFAULTS,
) -> None:
    """Serve until cancelled, then drain. `on_listening` gets the port; port 0 selects a free port."""
    node_id = secrets.token_hex(6)
    async with AsyncExitStack() as stack:
        stack.enter_context(bound_contextvars(node=node_id))
        store = await stack.enter_async_context(connect(settings.redis_url, timings.redis))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        gateway = Gateway(settings, node_id, store, http, timings)
        stack.push_async_callback(gateway.close_projects)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        gateway.start(tasks, reloads)
        stack.push_async_callback(gateway.say_goodbye)
        await stack.enter_async_context(internal_http(host, internal_port, gateway.why_not_ready))
        stack.push_async_callback(gateway.handshake.end)
        public = listening(gateway.application(), gateway.gate, host, port, reuse_port=reuse_port)
        port = await stack.enter_async_context(public)
        gateway.log_start(port, internal_port)
        tasks.create_task(watch_readiness(gateway.why_not_ready), name="readiness")
        on_listening(port)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await drain(gateway.connections, settings.drain_seconds)
            raise


class Gateway:
    """All parts of a gateway; each is made after the parts that it uses. `start` starts their tasks."""

    def __init__(
        self, settings: Settings, node_id: str, store: Store, http: aiohttp.ClientSession, timings: Timings
    ) -> None:
        budget = settings.queue_budget_bytes or default_budget()
        delivery, presence = timings.delivery, timings.presence
        self.settings, self.http, self.timings = settings, http, timings
        self.broker = Broker(store, settings)
        self.stores = Stores.of(store, settings, presence)
        self.tenants = {name: Tenant(name, settings, http) for name in settings.projects}
        self.queue_writer = QueueWriter(timings.parting_seconds, settings.gather_ms / 1000)
        self.node = Node(self.stores.nodes, node_id, rfc3339(time.time()), settings.presence_ttl_seconds)
        self.hub: Hub[SendQueue] = Hub()
        # No stage yet: nothing comes between the order of a topic and its delivery.
        self.stages = Stages()
        outlet = Outlet(self.stages, Fanout(self.queue_writer.after_write).deliver)
        options = SubscriptionOptions(node_id, delivery)
        self.topics = TopicSubscriptions(self.broker, self.stores.presence, self.hub, outlet, options)
        self.replay_budget = ReplayBudget(budget // REPLAY_SHARE)
        self.recovery = Recovery(self.broker, self.replay_budget, self.stages, delivery)
        self.empty_topics = EmptyTopics(self.broker, self.hub, delivery)
        self.subscriptions = Subscriptions(self.hub, self.topics, self.recovery, self.empty_topics, delivery)
        self.heartbeats = Heartbeats(HeartbeatStore(store), self.node, presence)
        self.pending = Pending(self.node.give_up, presence)
        self.connection_log = ConnectionLog(
            self.stores.connections, self.node, self.heartbeats, self.pending, presence.look_seconds
        )
        hears = self.topics.hears
        self.presence = PresenceWriter(self.stores.presence, self.node, self.pending, hears, presence)
        bounds = PublishBounds(budget // PUBLISH_SHARE)
        self.publisher = BroadcastPublisher(self.broker, hears, bounds)
        self.proxies: Proxies = [ip_network(proxy) for proxy in settings.trusted_proxies]
        self.strangers = Rates(settings.limits)  # of requests that name no served project
        self.gate = Gate(self.tenants, self.strangers, self.proxies, timings.http)
        self.connections = Connections(self.connection_log, self.node, self.presence, timings.websocket)
        self.disconnecting = Disconnecting(timings.websocket)
        self.fleet = self._fleet(store)
        self.handshake = Handshake(self.tenants, self.gate, self.proxies, self.connections, self._serving())
        self.answers = Answers()  # large REST responses that clients have not read yet
        self.memory = MemoryGuard(budget, self._holders())
        self.node.on_new_incarnation = self._begin_anew

    def _fleet(self, store: Store) -> Fleet:
        """What asks other nodes, and answers them, by the inbox of this node."""
        clients = LocalClients(self.connections, self.tenants, self.disconnecting)
        answering = Answering(self.node.id, store, self.hub, clients, self.timings.fleet)
        fleet = Fleet(self.node, Asking(store, self.topics.inbox), answering, self.timings.fleet)
        self.topics.inbox.take = fleet.received
        return fleet

    def _serving(self) -> Serving:
        """All parts that serve each client of the node."""
        return Serving(
            self.subscriptions,
            RedisWriters(self.publisher, self.presence),
            self.queue_writer,
            NativeCodec(),
            self.settings.heartbeat_seconds,
            self.timings.session,
        )

    def _holders(self) -> Holders:
        """All parts whose bytes the memory budget of the node counts."""
        return Holders(
            self.connections, self.answers, self.hub, self.replay_budget, self.publisher, self.presence
        )

    def _begin_anew(self) -> None:
        """Write to Redis under a new incarnation of this node what Redis had under the earlier one."""
        for step in (self.pending.begin_anew, self.connections.put_back, self.topics.read_rosters_again):
            with _part.survives():
                step()

    def start(self, tasks: asyncio.TaskGroup, reloads: Reloads | None) -> None:
        """Start all tasks; they stop when the group is cancelled."""
        for name in self.tenants:
            metrics.add_project(name)
        reload = ProjectReload(self.tenants, self.strangers, self.connections, self.http, tasks)
        for name, task in self._tasks(reload, reloads).items():
            tasks.create_task(_part.keep_running(task), name=name)

    def _tasks(self, reload: ProjectReload, reloads: Reloads | None) -> dict[str, Task]:
        """The tasks that all clients share, by name, in start order."""
        ttl = self.settings.presence_ttl_seconds
        tasks: dict[str, Task] = {
            "subscriber": self.topics.run,
            "empty topics": self.empty_topics.run,
            "life of the node": self.node.live,
            "beats": self.heartbeats.run,
            "reaper": partial(clean_up, self.stores, self.node, reload.ever_served, ttl),
            "connection log": self.connection_log.run,
            "presence": self.presence.run,
            "publisher": self.publisher.run,
            "tick": partial(keep_ticking, self.connections, self.timings.tick_seconds),
            "fleet": self.fleet.run,
            "disconnects": self.disconnecting.run,
            "memory": self.memory.run,
            "figures": partial(keep_measuring, self.tenants, self.connections, self.hub.topics),
        }
        if reloads is not None:
            tasks["reloads"] = partial(reloads.follow, self.settings, reload.take)
        return tasks

    def why_not_ready(self) -> str | None:
        return "this node is draining" if self.connections.draining else self.topics.why_not_ready()

    def application(self) -> web.Application:
        """The public port: the WebSocket, REST, its description, health and the dashboard."""
        app = web.Application(middlewares=self._middlewares(), client_max_size=MAX_BODY_BYTES)
        lists = PresenceLists(self.stores, self.answers.building)
        services = Services(self.node, self.broker, self.stores, self.publisher, lists, self.fleet)
        app.add_routes(
            [
                web.get(SOCKET_PATH, self.handshake.handle, allow_head=False),
                *routes.routes(self.tenants, services, self.gate),
                *health_routes(lambda: in_public(self.why_not_ready())),
                web.get("/openapi.json", openapi.described()),
                *page_routes(dashboard=self.settings.dashboard),
                *(demo_routes(self.tenants) if self.settings.demo_page else ()),
            ]
        )
        return app

    def _middlewares(self) -> list[Middleware]:
        return [
            self.answers.middleware(),
            request_ids(self.tenants),
            cors(self.tenants),
            counted(),
            errors_as_json(self.proxies, partial(self.gate.note, Surface.REST)),
            limited(self.gate.request, FREE),
            preflights(self.tenants),
        ]

    def log_start(self, port: int, internal_port: int | None) -> None:
        log.info(
            "process_started",
            version=__version__,
            pid=os.getpid(),
            port=port,
            internal_port=internal_port,
            projects=sorted(self.tenants),
        )
        warn_of_shared_keys(self.settings.projects)

    async def say_goodbye(self) -> None:
        """Record how the last connections ended, so that no other node has to.

        If Redis takes too long, the incarnation of this node expires, and other nodes clean up after it.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(self.timings.goodbye_seconds):
                await self.connection_log.settle()
                await self.presence.settle()
                await self.pending.settle()
                await self.node.leave_fleet()

    async def close_projects(self) -> None:
        """Close the projects that are still served; a reload has closed removed projects."""
        for tenant in self.tenants.values():
            await tenant.close()
