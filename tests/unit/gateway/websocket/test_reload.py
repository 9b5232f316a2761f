"""How a reload closes the clients of a project that is no longer served."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from gateway.websocket.reload import ProjectReload
from gateway.websocket.timings import WebSocketTimings


class Connections(set[Any]):
    """All connections of a node."""

    timings = WebSocketTimings(close_batch_seconds=0)


class Connection:
    """A client, which may fail to close."""

    def __init__(self, connections: set[Any], tenant: object, *, fails: bool = False) -> None:
        self.tenant = tenant
        self.session = SimpleNamespace(connection_id="c-1")
        self._connections = connections
        self._fails = fails

    def close(self, code: int, refusal: object) -> None:
        self._connections.discard(self)
        if self._fails:
            raise OSError("its transport is none any more")


async def test_a_client_that_fails_to_close_keeps_no_other_open():
    tenant, connections = object(), Connections()
    others = [Connection(connections, object())]
    leaving = [Connection(connections, tenant, fails=number == 0) for number in range(250)]
    connections.update(others, leaving)
    async with asyncio.TaskGroup() as tasks:
        parts: list[Any] = [{}, None, connections, None, tasks]
        await ProjectReload(*parts)._send_away(cast(Any, SimpleNamespace()))
        assert len(connections) == 251
        await ProjectReload(*parts)._send_away(cast(Any, tenant))
    assert connections == set(others)
