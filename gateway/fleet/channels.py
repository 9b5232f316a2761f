"""Counts subscribers and messages of a project's channels on this node, a few topics at a time.

A channel is what `Channel.canonical` spells: `table:users` and `table:public.users` are one. A client that
has both counts once.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterator
from heapq import nsmallest
from typing import Any

from gateway.fleet.messages import AskChannels, Channels, size_of
from gateway.hub.hub import Hub
from gateway.hub.topic import Topic
from realtime.waiting.batches import batches

TOPICS_AT_ONCE = 500  # between two turns of other tasks


async def count_channels(hub: Hub[Any], project: str) -> int:
    """Return how many channels of a project have a subscriber on this node."""
    number = 0
    for keys in batches(list(hub.topics), TOPICS_AT_ONCE):
        for key in keys:
            if key[0] == project and (topic := hub.topics.get(key)) is not None:
                number += len(subscribers_of(topic))
        await asyncio.sleep(0)
    return number


async def count_messages(hub: Hub[Any], project: str) -> int:
    """Return how many live messages of channels a project's clients got since the node started."""
    # The topics of one moment: what one has counted stays with it when it is closed, so no sum shrinks.
    topics = [topic for key, topic in hub.topics.items() if key[0] == project]
    number = hub.closed_messages[project]
    for some in batches(topics, TOPICS_AT_ONCE):
        number += sum(topic.subscribers.messages for topic in some)
        await asyncio.sleep(0)
    return number


async def channels_of(hub: Hub[Any], project: str, question: AskChannels) -> Channels:
    """Return the first channels of a project after a name, with their subscribers."""
    found: dict[str, int] = {}
    more = False
    for keys in batches(list(hub.topics), TOPICS_AT_ONCE):
        found |= _counted(hub, project, keys, question)
        if len(found) > question.limit:
            more = True
            found = {name: found[name] for name in nsmallest(question.limit, found)}
        await asyncio.sleep(0)
    fitting = list(_fitting(sorted(found.items()), question.max_bytes))
    return Channels(fitting, more or len(fitting) < len(found))


def _counted(
    hub: Hub[Any], project: str, keys: list[tuple[str, str]], question: AskChannels
) -> dict[str, int]:
    found: dict[str, int] = {}
    for key in keys:
        topic = hub.topics.get(key) if key[0] == project else None
        if topic is None:
            continue
        for name, subscribers in subscribers_of(topic).items():
            if name > question.after and name.startswith(question.prefix):
                found[name] = subscribers
    return found


def _fitting(channels: list[tuple[str, int]], max_bytes: int) -> Iterator[tuple[str, int]]:
    size = 0
    for channel in channels:
        size += size_of(channel)
        if size > max_bytes and size > size_of(channel):  # the first one always fits
            return
        yield channel


def subscribers_of(topic: Topic[Any]) -> dict[str, int]:
    """Return the channels of a topic that have subscribers, and how many clients each of them has."""
    by_name: dict[str, list[Collection[Hashable]]] = defaultdict(list)
    for audience in topic.subscribers.audiences:
        by_name[audience.channel.canonical].append(audience.subscribers)
    return {
        name: len(several[0]) if len(several) == 1 else len(set().union(*several))
        for name, several in by_name.items()
    }
