"""The gateway's composition root: every part in start order, stopped in reverse.

settings → broker, people → tenants → node → hub → subscriber → recovery
        → subscriptions → registry → voice → endpoint, REST → ports
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from ipaddress import ip_network

import aiohttp
from aiohttp import web

from gateway import metrics, openapi, rest
from gateway.drain import drain
from gateway.endpoint import Endpoint
from gateway.http_edge import MAX_BODY_BYTES, cors, errors_as_json, json_response
from gateway.hub import Delivery, Hub
from gateway.listener import listening
from gateway.nodes import Node
from gateway.reaper import reap
from gateway.recovery import Recovery
from gateway.registry import Registry
from gateway.rest_call import Services
from gateway.socket import Pump, Socket
from gateway.subscriber import Subscriber
from gateway.subscriptions import Subscriptions
from gateway.tenants import Tenant
from gateway.voice import Voice
from realtime.broker import Broker, connect
from realtime.config import Settings
from realtime.internal_http import Readiness, health_routes, internal_http
from realtime.people import People
from realtime.timestamps import rfc3339

TICK_SECONDS = 1.0  # between two looks at every connection's clock
GOODBYE_SECONDS = 2.0  # to tell Redis how the last connections ended


async def run(
    settings: Settings,
    host: str,
    port: int,
    internal_port: int | None = None,
    *,
    reuse_port: bool = False,
    on_listening: Callable[[int], None] = lambda port: None,
) -> None:
    """Serve until cancelled, then drain. `on_listening` hears the port: 0 asks for any that is free."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(connect(settings.redis_url))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        broker, people = Broker(client, settings), People(client, settings)
        tenants = {name: Tenant(name, project, http) for name, project in settings.projects.items()}
        for tenant in tenants.values():
            stack.push_async_callback(tenant.close)
        node = Node(people, secrets.token_hex(6), rfc3339(time.time()), settings.presence_ttl_seconds)
        hub: Hub[Socket] = Hub()
        subscriber = Subscriber(broker, people, hub, _deliver, node.id)
        subscriptions = Subscriptions(hub, subscriber, Recovery(broker, settings))
        registry = Registry(people, node)
        voice = Voice(broker, registry, subscriber)
        endpoint = Endpoint(
            tenants,
            subscriptions,
            voice,
            registry,
            node,
            Pump(),
            [ip_network(proxy) for proxy in settings.trusted_proxies],
            settings.heartbeat_seconds,
        )

        def begin_anew() -> None:
            endpoint.put_back()
            subscriber.read_rosters_again()

        node.on_new_life = begin_anew
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        parts = {
            "subscriber": subscriber.run(),
            "life of the node": node.live(),
            "reaper": reap(people, node, list(tenants), settings.presence_ttl_seconds),
            "registry": registry.run(),
            "voice": voice.run(),
            "tick": _tick(endpoint),
        }
        for name, part in parts.items():
            tasks.create_task(part, name=name)
        stack.push_async_callback(_say_goodbye, registry, node)

        def why_not_ready() -> str | None:
            return "this node is draining" if endpoint.draining else subscriber.why_not_ready()

        await stack.enter_async_context(internal_http(host, internal_port, why_not_ready))
        app = _application(endpoint, tenants, Services(node, broker, people, voice), why_not_ready)
        on_listening(await stack.enter_async_context(listening(app, host, port, reuse_port=reuse_port)))
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await drain(endpoint, settings.drain_seconds)
            raise


async def _say_goodbye(registry: Registry, node: Node) -> None:
    """Record how the last connections ended, so that no other node has to.

    A node that could not does not say goodbye: its life runs out, and others clean up after it.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(GOODBYE_SECONDS):
            await registry.settle()
            await node.leave_fleet()


def _deliver(deliveries: list[Delivery[Socket]]) -> None:
    for delivery in deliveries:
        metrics.deliveries.inc(len(delivery.sockets))
        for socket in delivery.sockets:
            # Most of the CPU of a node is spent below this line.
            socket.send(
                delivery.apart.get(socket.connection_id, delivery.pieces)
                if delivery.apart
                else delivery.pieces
            )


async def _tick(endpoint: Endpoint) -> None:
    while True:
        now = time.monotonic()
        for connection in list(endpoint.connections):
            connection.tick(now)
        await asyncio.sleep(TICK_SECONDS)


def _application(
    endpoint: Endpoint, tenants: dict[str, Tenant], services: Services, why_not_ready: Readiness
) -> web.Application:
    app = web.Application(middlewares=[cors(tenants), errors_as_json], client_max_size=MAX_BODY_BYTES)
    description = openapi.document()

    async def describe(_: web.Request) -> web.Response:
        return json_response(description)

    app.add_routes(
        [
            web.get(rest.PREFIX + "/ws", endpoint.handle, allow_head=False),
            *rest.routes(tenants, services),
            *health_routes(why_not_ready),
            web.get("/openapi.json", describe),
        ]
    )
    return app
