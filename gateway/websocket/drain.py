"""Drains a node: tells its clients when it will close them, and closes a few connections at a time.

The composition root calls `drain` when the process has to stop. All clients are served until they are closed;
the delays are spread, so that ten thousand clients do not reconnect to other nodes in the same second.
"""

from __future__ import annotations

import asyncio
import random
from functools import partial

from gateway.websocket.closing import wait_until_gone
from gateway.websocket.connections import Connections
from gateway.wire.events import Closing
from realtime.errors import CLOSE_GOING_AWAY
from realtime.logs.setup import get_logger
from realtime.waiting.survival import Part

log = get_logger(__name__)

SPREAD_PART = 0.9  # of drain_seconds, over which the closes are spread; the rest is for the last closes
BATCH_SECONDS = 0.1  # between two batches of closes

_part = Part("drain")


async def drain(connections: Connections, seconds: float) -> None:
    """Admit no client any more, tell all clients, and close their connections within so many seconds."""
    connections.draining = True
    leaving = list(connections)
    log.info("drain_began", connections_count=len(leaving), drain_seconds=seconds)
    random.shuffle(leaving)
    step = SPREAD_PART * seconds / max(1, len(leaving))
    for number, connection in enumerate(leaving):
        with _part.survives():
            connection.say(Closing(after_ms=int(1000 * step * number)))
    started = asyncio.get_running_loop().time()
    for number, connection in enumerate(leaving):
        while started + step * number > asyncio.get_running_loop().time():
            await asyncio.sleep(BATCH_SECONDS)
        with _part.survives():
            connection.close(CLOSE_GOING_AWAY)
    await wait_until_gone(partial(_close_the_rest, connections))
    log.info("drain_ended", connections_left_count=len(connections))


def _close_the_rest(connections: Connections) -> bool:
    """Close clients that were admitted meanwhile; return whether none is left."""
    for connection in list(connections):
        with _part.survives():
            connection.close(CLOSE_GOING_AWAY)
    return not connections
