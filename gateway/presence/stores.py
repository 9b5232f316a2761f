"""The stores of this room, which travel together: the composition root makes them once a process."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.presence.connection_store import ConnectionStore
from gateway.presence.node_store import NodeStore
from gateway.presence.presence_store import PresenceStore
from realtime.redis.client import Store
from realtime.settings.config import Settings


@dataclass(frozen=True, slots=True)
class Stores:
    """What the nodes keep in Redis of their clients and of themselves."""

    presence: PresenceStore
    connections: ConnectionStore
    nodes: NodeStore

    @classmethod
    def of(cls, store: Store, settings: Settings) -> Stores:
        return cls(PresenceStore(store), ConnectionStore(store, settings), NodeStore(store))
