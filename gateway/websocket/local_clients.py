"""The clients of this node for `gateway.fleet`: what they are, what they did, and how to close them.

Everything is summed up when somebody asks, over a few connections at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from copy import copy
from heapq import nsmallest

from gateway.fleet.messages import AskClients, AskDisconnect, Client, Clients, Stats, size_of
from gateway.presence.connection_store import Open
from gateway.projects.project import Tenant
from gateway.projects.tally import Tally
from gateway.timestamps import rfc3339
from gateway.websocket.connection import Connection
from gateway.websocket.connections import Connections, add_to_tally
from gateway.websocket.disconnecting import Disconnecting
from realtime import __version__
from realtime.waiting.batches import batches

CONNECTIONS_AT_ONCE = 200  # between two turns of other tasks
DESCRIBED_AT_ONCE = 20  # the same for a page: messages of up to 100 channels of each are added up
MOST_SUBSCRIPTIONS = 100  # names of one client in an answer,
SUBSCRIPTION_BYTES = 8_192  # and bytes of all of them


class LocalClients:
    """All connections of this node, by project."""

    def __init__(
        self, connections: Connections, tenants: Mapping[str, Tenant], disconnecting: Disconnecting
    ) -> None:
        self._connections = connections
        self._tenants = tenants
        self._disconnecting = disconnecting

    def __repr__(self) -> str:
        return f"<LocalClients of {self._connections!r}>"

    async def stats(self, project: str, channels: int, live_messages: int) -> Stats:
        """Return the figures of a project; `channels` have subscribers here, and sent `live_messages`."""
        node = self._connections.node
        tenant = self._tenants.get(project)
        tally = Tally() if tenant is None else tenant.tally
        connections = subscriptions = queue_bytes = 0
        # Of those that ended before the first step. What ends meanwhile keeps its figures, so no sum shrinks.
        total = copy(tally)
        async for some in self._of(project):
            for one in some:
                connections += 1
                subscriptions += len(one.session.channels)
                queue_bytes += one.send_queue.waiting_bytes
                add_to_tally(total, one)
        return Stats(
            version=__version__,
            started_at=node.started_at,
            draining=self._connections.draining,
            connections=connections,
            subscriptions=subscriptions,
            channels=channels,
            queue_bytes=queue_bytes,
            messages_in=total.messages_in,
            messages_out=total.messages_out + live_messages,
            bytes_out=total.bytes_out,
            slow_consumers=tally.slow_consumers,
            slow_consumers_of_late=tally.slow_of_late(time.monotonic()),
            errors=total.errors,
        )

    async def count(self, project: str, user_id: str) -> int:
        """Return how many connections a user has here."""
        return sum([len(_of_user(some, user_id)) async for some in self._of(project)])

    async def page(self, project: str, question: AskClients) -> Clients:
        """Return the first connections after an id, in the order of ids."""
        found: list[tuple[str, Connection]] = []
        async for some in self._of(project):
            wanted = some if question.user_id is None else _of_user(some, question.user_id)
            found += [
                (one.session.connection_id, one)
                for one in wanted
                if one.session.connection_id > question.after
            ]
        page: list[Client] = []
        size = 0
        first = nsmallest(question.limit, found, key=lambda entry: entry[0])
        for number, (_, connection) in enumerate(first, 1):
            if number % DESCRIBED_AT_ONCE == 0:
                await asyncio.sleep(0)
            if (record := self._connections.record_of(connection)) is None:
                continue  # it has ended meanwhile
            client = described(connection, record)
            size += size_of(client)
            if page and size > question.max_bytes:
                return Clients(page, True)
            page.append(client)
        return Clients(page, len(first) < len(found))

    async def disconnect(self, project: str, question: AskDisconnect) -> int:
        """Begin to close one connection, or all connections of a user; return how many."""
        found: list[Connection] = []
        async for some in self._of(project):
            if question.connection_id is not None:
                found += [one for one in some if one.session.connection_id == question.connection_id]
            elif question.user_id is not None:
                found += _of_user(some, question.user_id)
        return self._disconnecting.add(found, reconnect=question.reconnect)

    async def _of(self, project: str) -> AsyncIterator[list[Connection]]:
        """Yield the connections that a project has at the first step, some at a time; they may end."""
        for some in batches(list(self._connections), CONNECTIONS_AT_ONCE):
            yield [one for one in some if one.session.project_id == project]
            await asyncio.sleep(0)


def _of_user(connections: Iterable[Connection], user_id: str) -> list[Connection]:
    return [one for one in connections if one.session.identity.user_id == user_id]


def described(connection: Connection, record: Open) -> Client:
    """Return a client as REST shows it."""
    session = connection.session
    return Client(
        connection_id=session.connection_id,
        user_id=session.identity.user_id,
        role=session.identity.role,
        ip=record.ip,
        user_agent=record.user_agent,
        connected_at=rfc3339(record.connected_at),
        expires_at=rfc3339(session.identity.expires_at),
        subscriptions=_first(session.channels),
        subscription_count=len(session.channels),
        queue_bytes=connection.send_queue.waiting_bytes,
        messages_in=connection.messages_in,
        messages_out=connection.messages_out,
    )


def _first(names: Iterable[str]) -> list[str]:
    """Return the first names, in the order in which the client subscribed, as far as there is room."""
    found: list[str] = []
    size = 0
    for name in names:
        size += len(name.encode())
        if len(found) == MOST_SUBSCRIPTIONS or size > SUBSCRIPTION_BYTES:
            break
        found.append(name)
    return found
