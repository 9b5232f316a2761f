"""Cleans up after dead nodes: their people leave, their connections end.

Every living node looks; one at a time works on a dead life. What one leaves undone another does, and
nothing is announced twice, since only who takes an entry out announces it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from gateway.presence.node import Node
from gateway.presence.store import Change, Departure, People
from realtime.causes.sentence import why
from realtime.errors import Unavailable
from realtime.logs.setup import get_logger
from realtime.waiting.outage import Outage
from realtime.waiting.survival import Part

log = get_logger(__name__)

LOOK_PART = 0.05  # of presence_ttl_seconds, between two looks
CLAIM_PART = 0.2  # of it, after which another node may go on; two at work do no harm
AT_ONCE = 500  # entries of one round trip

ItemT = TypeVar("ItemT")

CODE_NODE_LOST = 1006
REASON_NODE_LOST = "node_lost"

_part = Part("reaper")


async def reap(people: People, node: Node, projects: Collection[str], ttl_seconds: float) -> None:
    """Look for dead lives until cancelled; `projects` may change meanwhile."""
    outage = Outage()
    while True:
        with _part.survives():
            try:
                for life in await node.dead_lives():
                    with _spares_the_others(life):
                        if await people.claim(life, CLAIM_PART * ttl_seconds):
                            await _clean_up_after(people, life, projects)
                outage.end()
            except Unavailable as error:
                if outage.is_news(why(error), time.monotonic()):
                    log.warning("cleanup_failed", error=why(error))
        await asyncio.sleep(LOOK_PART * ttl_seconds)


async def _clean_up_after(people: People, life: str, projects: Collection[str]) -> None:
    """Clean up for each topic and each project by itself; where one fails, the life is kept for later."""
    faults: list[Exception] = []
    leaves = connections = 0
    for project, topic in await people.topics_of(life):
        with _spares_the_others(f"{project} {topic}", faults):
            leaves += await _end_presence(people, life, project, topic)
    for project in sorted(projects):
        with _spares_the_others(project, faults):
            connections += await _end_connections(people, life, project)
    if not faults:
        await people.bury(life)
        log.info("dead_node_cleaned_up", life=life, presences_count=leaves, connections_count=connections)


@contextmanager
def _spares_the_others(item: str, faults: list[Exception] | None = None) -> Iterator[None]:
    """Survive what nobody foresaw; a Redis that is away is away for all."""
    try:
        yield
    except Unavailable:
        raise
    except Exception as error:
        _part.note(error, item)
        if faults is not None:
            faults.append(error)


async def _end_presence(people: People, life: str, project: str, topic: str) -> int:
    fields = await people.fields_of(project, topic, life)
    for some in _pieces(fields):
        await people.change_presence({(project, topic): [Change(field, None) for field in some]})
    return len(fields)


async def _end_connections(people: People, life: str, project: str) -> int:
    lost = await people.open_of(project, life)
    now = time.time()
    for piece in _pieces(lost):
        await people.disconnect(
            [Departure(project, life, (), facts, CODE_NODE_LOST, REASON_NODE_LOST, now) for facts in piece]
        )
    return len(lost)


def _pieces(items: list[ItemT]) -> Iterable[list[ItemT]]:
    for start in range(0, len(items), AT_ONCE):
        yield items[start : start + AT_ONCE]
