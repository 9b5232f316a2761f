"""The gateway's composition root: every part in start order, stopped in reverse.

settings → broker, people → tenants → node → hub → subscriber → recovery
        → subscriptions → connection log, presence, publisher → endpoint, REST → turnover → ports
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from ipaddress import ip_network
from typing import Protocol

import aiohttp
from aiohttp import hdrs, web
from structlog.contextvars import bound_contextvars

from gateway import metrics
from gateway.delivery.empty_topics import EmptyTopics
from gateway.delivery.fanout import Fanout
from gateway.delivery.recovery import Recovery
from gateway.delivery.stages import Outlet, Stages
from gateway.delivery.subscribe import Subscriptions
from gateway.delivery.topic_subscriptions import TopicSubscriptions
from gateway.http import openapi, routes
from gateway.http.context import Services
from gateway.http.gate import Gate
from gateway.http.middlewares import MAX_BODY_BYTES, cors, errors_as_json, json_response, limited, preflights
from gateway.http.refusals import Surface
from gateway.http.request import Proxies
from gateway.http.request_ids import request_ids
from gateway.http.request_metrics import counted
from gateway.http.server import listening
from gateway.hub.hub import Hub
from gateway.hub.replay_cache import ReplayBudget
from gateway.memory.answers import Answers
from gateway.memory.budget import REPLAY_SHARE, SAID_SHARE
from gateway.memory.guard import Holders, MemoryGuard
from gateway.presence.cleanup import reap
from gateway.presence.connection_log import ConnectionLog
from gateway.presence.heartbeat_store import HeartbeatStore
from gateway.presence.heartbeats import Heartbeats
from gateway.presence.node import Node
from gateway.presence.pending import Pending
from gateway.presence.store import People
from gateway.presence.writer import PresenceWriter
from gateway.projects.project import Tenant, warn_of_shared_keys
from gateway.projects.rate_limit import Rates
from gateway.publish.publisher import BroadcastPublisher
from gateway.websocket.connection import Serving
from gateway.websocket.connections import Connections
from gateway.websocket.drain import drain
from gateway.websocket.gauges import keep_measuring
from gateway.websocket.handshake import Handshake
from gateway.websocket.publishing import RedisWriters
from gateway.websocket.reload import ProjectReload
from gateway.wire.native import NativeCodec
from gateway.wire.send_queue import QueueWriter, SendQueue
from realtime import __version__
from realtime.logs.setup import get_logger
from realtime.process.health import Readiness, health_routes, in_public, internal_http
from realtime.process.memory_limit import default_budget
from realtime.process.readiness import watch_readiness
from realtime.process.reload import Reloads
from realtime.redis.broker import Broker
from realtime.redis.client import connect
from realtime.settings.config import Settings
from realtime.timestamps import rfc3339
from realtime.waiting.survival import Part

log = get_logger(__name__)

_part = Part("gateway")

TICK_SECONDS = 1.0  # between two looks at every connection's clock
SOCKET_PATH = routes.PREFIX + "/ws"
FREE = frozenset(
    {SOCKET_PATH, "/healthz", "/readyz"}
)  # of the rates of REST: it has its own; these tell who is well
DESCRIPTION_SECONDS = 300  # for which a cache may keep `/openapi.json`
GOODBYE_SECONDS = 2.0  # to tell Redis how the last connections ended


async def run(
    settings: Settings,
    host: str,
    port: int,
    internal_port: int | None = None,
    *,
    reuse_port: bool = False,
    on_listening: Callable[[int], None] = lambda port: None,
    reloads: Reloads | None = None,
) -> None:
    """Serve until cancelled, then drain. `on_listening` hears the port: 0 asks for any that is free."""
    node_id = secrets.token_hex(6)
    async with AsyncExitStack() as stack:
        stack.enter_context(bound_contextvars(node=node_id))
        store = await stack.enter_async_context(connect(settings.redis_url))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        broker, people = Broker(store, settings), People(store, settings)
        tenants = {name: Tenant(name, settings, http) for name in settings.projects}
        stack.push_async_callback(_close_all, tenants)
        for name in tenants:
            metrics.add_project(name)
        node = Node(people, node_id, rfc3339(time.time()), settings.presence_ttl_seconds)
        hub: Hub[SendQueue] = Hub()
        stages = Stages()  # none has to wait: what is in order is delivered at once
        subscriber = TopicSubscriptions(broker, people, hub, Outlet(stages, Fanout().deliver), node.id)
        budget = settings.queue_budget_bytes or default_budget()
        room = ReplayBudget(budget // REPLAY_SHARE)
        empty_topics = EmptyTopics(broker, hub)
        subscriptions = Subscriptions(hub, subscriber, Recovery(broker, room, stages), empty_topics)
        beats = Heartbeats(HeartbeatStore(store), node)
        pending = Pending(node.give_life_up)
        connection_log = ConnectionLog(people, node, beats, pending)
        presence = PresenceWriter(people, node, pending, subscriber.hears)
        publisher = BroadcastPublisher(broker, subscriber.hears, budget // SAID_SHARE)
        proxies = [ip_network(proxy) for proxy in settings.trusted_proxies]
        strangers = Rates(settings.limits)
        gate = Gate(tenants, strangers, proxies)
        connections = Connections(connection_log, node, presence)
        writers = RedisWriters(publisher, presence)
        serving = Serving(subscriptions, writers, QueueWriter(), NativeCodec(), settings.heartbeat_seconds)
        endpoint = Handshake(tenants, gate, proxies, connections, serving)

        def begin_anew() -> None:
            for step in (pending.begin_anew, connections.put_back, subscriber.read_rosters_again):
                with _part.survives():
                    step()

        node.on_new_life = begin_anew
        answers = Answers()
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        turnover = ProjectReload(tenants, strangers, connections, http, tasks)
        memory = MemoryGuard(budget, Holders(connections, answers, hub, room, publisher, presence))
        parts: dict[str, Callable[[], Awaitable[None]]] = {
            "subscriber": subscriber.run,
            "empty topics": empty_topics.run,
            "life of the node": node.live,
            "beats": beats.run,
            "reaper": partial(reap, people, node, turnover.ever_served, settings.presence_ttl_seconds),
            "connection log": connection_log.run,
            "presence": presence.run,
            "publisher": publisher.run,
            "tick": partial(_tick, connections),
            "memory": memory.run,
            "figures": partial(keep_measuring, tenants, connections, hub.topics),
        }
        if reloads is not None:
            parts["reloads"] = partial(reloads.follow, settings, turnover.take)
        for name, part in parts.items():
            tasks.create_task(_part.keep_running(part), name=name)
        stack.push_async_callback(_say_goodbye, [connection_log, presence, pending], node)

        def why_not_ready() -> str | None:
            return "this node is draining" if connections.draining else subscriber.why_not_ready()

        await stack.enter_async_context(internal_http(host, internal_port, why_not_ready))
        services = Services(node, broker, people, publisher)
        app = _application(endpoint, tenants, proxies, gate, services, lambda: in_public(why_not_ready()))
        app.middlewares.insert(0, answers.middleware())
        port = await stack.enter_async_context(listening(app, gate, host, port, reuse_port=reuse_port))
        log.info(
            "process_started",
            version=__version__,
            pid=os.getpid(),
            port=port,
            internal_port=internal_port,
            projects=sorted(tenants),
        )
        warn_of_shared_keys(settings.projects)
        tasks.create_task(watch_readiness(why_not_ready), name="readiness")
        on_listening(port)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await drain(connections, settings.drain_seconds)
            raise


async def _close_all(tenants: dict[str, Tenant]) -> None:
    """Close those that are served in the end; the others were closed by who took them out."""
    for tenant in tenants.values():
        await tenant.close()


class Sender(Protocol):
    """Something that tells Redis what happens here."""

    async def settle(self) -> None: ...


async def _say_goodbye(senders: Sequence[Sender], node: Node) -> None:
    """Record how the last connections ended, so that no other node has to.

    A node that could not does not say goodbye: its life runs out, and others clean up after it.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(GOODBYE_SECONDS):
            for sender in senders:
                await sender.settle()
            await node.leave_fleet()


async def _tick(connections: Connections) -> None:
    while True:
        now = time.monotonic()
        for connection in list(connections):
            try:
                connection.tick(now)
            except Exception as error:
                connection.fail(error)
        await asyncio.sleep(TICK_SECONDS)


def _application(
    endpoint: Handshake,
    tenants: dict[str, Tenant],
    proxies: Proxies,
    gate: Gate,
    services: Services,
    why_not_ready: Readiness,
) -> web.Application:
    app = web.Application(
        middlewares=[
            request_ids(tenants),
            cors(tenants),
            counted(),
            errors_as_json(proxies, partial(gate.note, Surface.REST)),
            limited(gate.request, FREE),
            preflights(tenants),
        ],
        client_max_size=MAX_BODY_BYTES,
    )
    description = openapi.document()

    async def describe(_: web.Request) -> web.Response:
        response = json_response(description)
        response.headers[hdrs.CACHE_CONTROL] = f"max-age={DESCRIPTION_SECONDS}"  # says nothing of anybody
        return response

    app.add_routes(
        [
            web.get(SOCKET_PATH, endpoint.handle, allow_head=False),
            *routes.routes(tenants, services, gate),
            *health_routes(why_not_ready),
            web.get("/openapi.json", describe),
        ]
    )
    return app
