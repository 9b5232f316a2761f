"""All open connections of this node, and their records in Redis: connects, ends, and registering again.

The handshake adds connections; drain, reload, gauges and the memory guard read them. This module closes a
connection only if it cannot be registered again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial

from aiohttp import WSCloseCode

from gateway import metrics
from gateway.presence.connection_log import ConnectionLog
from gateway.presence.connection_store import Open
from gateway.presence.node import Node
from gateway.presence.writer import PresenceWriter
from gateway.projects.project import Tenant
from gateway.projects.tally import Tally
from gateway.websocket.connection import Connection
from gateway.websocket.timings import DEFAULTS, WebSocketTimings
from realtime.errors import Unavailable
from realtime.logs.setup import get_logger

log = get_logger(__name__)


class Opened:
    """A `with` block in which a connection is one of the open ones; smaller than a generator."""

    __slots__ = ("_connection", "_connections", "_gauge", "_record")

    def __init__(self, connections: Connections, connection: Connection, record: Open) -> None:
        self._connections, self._connection, self._record = connections, connection, record
        # Kept, since the series of a removed project must not come back.
        self._gauge = metrics.connections.labels(connection.tenant.project_id)

    def __enter__(self) -> None:
        self._gauge.inc()
        self._connections.add(self._connection, self._record)

    def __exit__(self, *_: object) -> None:
        self._gauge.dec()
        self._connections.remove(self._connection, self._record)


class Connections:
    """The open connections, each with its record."""

    def __init__(
        self,
        connection_log: ConnectionLog,
        node: Node,
        presence: PresenceWriter,
        timings: WebSocketTimings = DEFAULTS,
    ) -> None:
        self.node = node
        self.timings = timings
        self._log = connection_log
        self._presence = presence
        self.draining = False  # no client is admitted any more
        self._open: dict[Connection, Open] = {}
        self._ids: set[str] = set()  # of open connections, and of those that are being admitted

    def __repr__(self) -> str:
        return f"<Connections {len(self._open)} open{', draining' if self.draining else ''}>"

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._open)

    def __contains__(self, connection: object) -> bool:
        return connection in self._open

    def record_of(self, connection: Connection) -> Open | None:
        """Return the record of an open connection; None if it has ended."""
        return self._open.get(connection)

    async def register(self, tenant: Tenant, record: Open) -> None:
        """Count a connection over all nodes; while Redis is not available, retry later.

        The connection counts as present until `record_end`, in case it has to be registered again.
        """
        self._ids.add(record.connection_id)
        try:
            await self._log.admit(tenant.project_id, record, tenant.limits)
        except asyncio.CancelledError:  # this node stops; Redis may count the connection all the same
            self.record_end(tenant, record, WSCloseCode.ABNORMAL_CLOSURE, None)
            raise
        except Unavailable:
            self._register_again(tenant, record)
        except Exception:  # it is not admitted
            self._ids.discard(record.connection_id)
            raise

    def record_end(self, tenant: Tenant, record: Open, code: int, reason: str | None) -> None:
        """Record how a registered connection ended."""
        self._ids.discard(record.connection_id)
        self._log.depart(tenant.project_id, record, code, reason)

    def opened(self, connection: Connection, record: Open) -> Opened:
        """Keep the connection among the open ones in a `with` block; then record its end."""
        return Opened(self, connection, record)

    def add(self, connection: Connection, record: Open) -> None:
        """Add a connection to the open ones."""
        project_id = connection.tenant.project_id
        self._open[connection] = record
        self.node.count(project_id, 1)
        metrics.opened.labels(project_id).inc()
        log.debug("connection_opened", address=record.ip)

    def remove(self, connection: Connection, record: Open) -> None:
        """Remove a connection from the open ones, and record its end."""
        project_id = connection.tenant.project_id
        del self._open[connection]
        add_to_tally(connection.tenant.tally, connection)
        self.node.count(project_id, -1)
        code, reason = connection.outcome
        log.debug("connection_closed", code=code, reason=reason)
        self.record_end(connection.tenant, record, code, reason)

    def put_back(self) -> None:
        """Register all connections and presences again, under the new incarnation of the node."""
        for connection, record in list(self._open.items()):
            try:
                self._put_back(connection, record)
            except Exception as error:
                connection.fail(error)  # else Redis would have a part of the connection

    def _put_back(self, connection: Connection, record: Open) -> None:
        presences = connection.session.presences
        self._register_again(connection.tenant, record)
        for presence in presences:
            self._presence.restore(presence, partial(presences.entry, presence.topic))

    def _register_again(self, tenant: Tenant, record: Open) -> None:
        is_present = partial(self._is_present, record.connection_id)
        self._log.readmit(tenant.project_id, record, tenant.limits, is_present)

    def _is_present(self, connection_id: str) -> bool:
        return connection_id in self._ids


def add_to_tally(tally: Tally, connection: Connection) -> None:
    """Add what a connection did."""
    queue = connection.send_queue
    tally.messages_in += connection.messages_in
    tally.messages_out += queue.messages - queue.left_messages  # the hub counts the others
    tally.bytes_out += queue.written_bytes
    tally.errors += queue.errors


async def keep_ticking(connections: Connections, seconds: float) -> None:
    """Check every connection's deadlines again and again, until cancelled."""
    while True:
        now = time.monotonic()
        for connection in list(connections):
            try:
                connection.tick(now)
            except Exception as error:
                connection.fail(error)
        await asyncio.sleep(seconds)
