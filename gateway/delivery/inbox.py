"""The inbox of this node: one Redis channel, on which other nodes ask it and answer it.

`topic_subscriptions` keeps it subscribed at the server that has it. It holds nothing and repeats nothing:
what is sent while this node does not listen is lost, and whoever asked sees that no answer came.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.delivery.redis_subscription import RedisSubscription
from realtime import names


class Inbox:
    """The channel of one node; `take` gets each message."""

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id
        self.channel = names.node_inbox(node_id).encode()
        self.server: RedisSubscription | None = None  # None: no server is known to have the channel
        self.take: Callable[[bytes], None] = lambda data: None

    def __repr__(self) -> str:
        return f"<Inbox {self.channel.decode()} at {self.server}>"

    @property
    def is_heard(self) -> bool:
        """Whether messages arrive now."""
        return self.server is not None and self.server.is_live

    def move(self, server: RedisSubscription | None) -> None:
        """Subscribe at the server that has the channel now, and at no other one."""
        if server is self.server:
            return
        before, self.server = self.server, server
        if before is not None:
            before.unsubscribe(self.channel)
        if server is not None:
            server.subscribe(self.channel)

    def received(self, server: RedisSubscription, channel: bytes, data: bytes) -> None:
        """Take a message, if it is one of this channel."""
        if channel == self.channel and server is self.server:
            self.take(data)
