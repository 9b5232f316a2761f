"""The stores of this room in one record: the composition root makes the record once a process."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.presence.connection_store import ConnectionStore
from gateway.presence.node_store import NodeStore
from gateway.presence.presence_store import PresenceStore
from gateway.presence.timings import DEFAULTS, PresenceTimings
from realtime.redis.client import Store
from realtime.settings.config import Settings


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores of what nodes keep in Redis about their clients and about themselves."""

    presence: PresenceStore
    connections: ConnectionStore
    nodes: NodeStore

    @classmethod
    def of(cls, store: Store, settings: Settings, timings: PresenceTimings = DEFAULTS) -> Stores:
        presence = PresenceStore(store, timings.emptied_seconds)
        return cls(presence, ConnectionStore(store, settings), NodeStore(store))
