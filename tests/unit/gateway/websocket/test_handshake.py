"""How a node lets go of the clients it serves; `integration/test_gateway_access.py` has who is let in."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from gateway.websocket.handshake import Handshake


def handshake() -> Handshake:
    """One that admits nobody, since the collaborators that this takes are missing."""
    return Handshake({}, *cast(Any, (None, (), None, None)))


async def test_a_node_without_clients_ends_at_once() -> None:
    await handshake().end(seconds=3_600)


async def test_a_client_that_leaves_in_time_is_not_cancelled() -> None:
    node, may_leave = handshake(), asyncio.Event()
    client = asyncio.create_task(cast(Any, may_leave.wait()))
    node._served.add(client)
    asyncio.get_running_loop().call_soon(may_leave.set)
    await node.end(seconds=3_600)
    assert client.done()
    assert not client.cancelled()


async def test_a_client_that_is_still_served_is_cancelled() -> None:
    node = handshake()
    client = asyncio.create_task(cast(Any, asyncio.Event().wait()))
    node._served.add(client)
    await node.end(seconds=0.01)
    assert client.cancelled()
