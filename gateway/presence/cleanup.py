"""Cleans up after dead nodes: ends the presence and the connections of their clients.

Every living node looks for dead incarnations; one node at a time works on each. Another node finishes what
the first leaves undone. No leave is announced twice, since only the node that removes an entry announces it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from gateway.presence.change import Change
from gateway.presence.connection_store import Departure
from gateway.presence.node import Node
from gateway.presence.stores import Stores
from realtime.causes.sentence import why
from realtime.errors import Unavailable
from realtime.logs.setup import get_logger
from realtime.waiting.batches import batches
from realtime.waiting.outage import Outage
from realtime.waiting.survival import Part

log = get_logger(__name__)

LOOK_PART = 0.05  # of presence_ttl_seconds, between two looks
CLAIM_PART = 0.2  # of presence_ttl_seconds, after which another node may go on; two nodes at work do no harm
AT_ONCE = 500  # entries in one round trip

CODE_NODE_LOST = 1006
REASON_NODE_LOST = "node_lost"

_part = Part("reaper")


async def clean_up(stores: Stores, node: Node, projects: Collection[str], ttl_seconds: float) -> None:
    """Look for dead incarnations until cancelled; `projects` may change meanwhile."""
    outage = Outage()
    while True:
        with _part.survives():
            try:
                for incarnation in await node.dead_incarnations():
                    with _spares_the_others(incarnation):
                        if await stores.nodes.claim(incarnation, CLAIM_PART * ttl_seconds):
                            await _clean_up_after(stores, incarnation, projects)
                outage.end()
            except Unavailable as error:
                if outage.is_news(why(error), time.monotonic()):
                    log.warning("cleanup_failed", error=why(error))
        await asyncio.sleep(LOOK_PART * ttl_seconds)


async def _clean_up_after(stores: Stores, incarnation: str, projects: Collection[str]) -> None:
    """Clean up each topic and project by itself; if one of them fails, keep the incarnation for later."""
    errors: list[Exception] = []
    leaves = connections = 0
    for project, topic in await stores.presence.topics_of(incarnation):
        with _spares_the_others(f"{project} {topic}", errors):
            leaves += await _end_presence(stores, incarnation, project, topic)
    for project in sorted(projects):
        with _spares_the_others(project, errors):
            connections += await _end_connections(stores, incarnation, project)
    if not errors:
        await stores.nodes.delete(incarnation)
        log.info(
            "dead_node_cleaned_up", life=incarnation, presences_count=leaves, connections_count=connections
        )


@contextmanager
def _spares_the_others(item: str, errors: list[Exception] | None = None) -> Iterator[None]:
    """Survive unforeseen faults of one item; raise Unavailable, which concerns all items."""
    try:
        yield
    except Unavailable:
        raise
    except Exception as error:
        _part.note(error, item)
        if errors is not None:
            errors.append(error)


async def _end_presence(stores: Stores, incarnation: str, project: str, topic: str) -> int:
    fields = await stores.presence.fields_of(project, topic, incarnation)
    for batch in batches(fields, AT_ONCE):
        await stores.presence.change({(project, topic): [Change(field, None) for field in batch]})
    return len(fields)


async def _end_connections(stores: Stores, incarnation: str, project: str) -> int:
    lost = await stores.connections.open_of(project, incarnation)
    now = time.time()
    for batch in batches(lost, AT_ONCE):
        await stores.connections.disconnect(
            [
                Departure(project, incarnation, (), facts, CODE_NODE_LOST, REASON_NODE_LOST, now)
                for facts in batch
            ]
        )
    return len(lost)
