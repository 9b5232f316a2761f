"""How what clients say gets to Redis: broadcasts and presence, from sockets and from REST alike.

What comes back to subscribers, the sender among them, comes through Redis like everything else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.gatherer import Gatherer
from gateway.registry import Registry
from gateway.subscriber import Subscriber
from gateway.tenants import Tenant
from realtime.broker import Broker, Post
from realtime.channels import Channel
from realtime.errors import Unavailable


class Voice:
    """Everything that a node's clients tell others."""

    def __init__(self, broker: Broker, registry: Registry, subscriber: Subscriber) -> None:
        self._broker = broker
        self._registry = registry
        self._subscriber = subscriber
        self._posts: Gatherer[tuple[Tenant, Channel, bytes]] = Gatherer(self._send)

    async def run(self) -> None:
        await self._posts.run()

    async def publish(self, tenant: Tenant, channel: Channel, *lines: bytes) -> None:
        """Return when Redis has it; raises Unavailable at once while Redis is away."""
        self._require_redis()
        await asyncio.gather(*[self._posts.put((tenant, channel, line)) for line in lines])

    def set_presence(
        self, tenant: Tenant, topic: str, connection_id: str, entry: bytes | None
    ) -> asyncio.Future[None]:
        """Return a future that is done when Redis has it; raises Unavailable at once while Redis is away.

        If the future fails, Redis may have it or not: then `restore_presence` what is true.
        """
        self._require_redis()
        return self._registry.set_presence(tenant.project_id, topic, connection_id, entry)

    def restore_presence(
        self,
        tenant: Tenant,
        topic: str,
        connection_id: str,
        entry: Callable[[], bytes | None],
        told: Callable[[], None],
    ) -> None:
        """Let Redis have what `entry` says when that can be told; then `told`."""
        self._registry.restore_presence(tenant.project_id, topic, connection_id, entry, told)

    def end_presence(self, tenant: Tenant, topic: str, connection_id: str) -> None:
        self._registry.end_presence(tenant.project_id, topic, connection_id)

    def _require_redis(self) -> None:
        if self._subscriber.why_not_ready() is not None:
            raise Unavailable("Redis cannot be reached now")

    async def _send(self, items: list[tuple[Tenant, Channel, bytes]]) -> None:
        """Send what was gathered: one post a channel, its lines in the order in which they came."""
        posts: dict[tuple[str, str], Post] = {}
        for tenant, channel, line in items:
            post = posts.get((tenant.project_id, channel.topic))
            if post is None:
                post = posts[tenant.project_id, channel.topic] = Post(
                    tenant.project_id, channel.topic, [], tenant.history_of(channel)
                )
            post.lines.append(line)
        await self._broker.broadcast(list(posts.values()))
