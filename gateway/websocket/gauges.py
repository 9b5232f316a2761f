"""Measures subscriptions, presences, topics and sent bytes of this node for Prometheus every few seconds.

Reads connections and topics, sets gauges, and counts the bytes that were sent. No gauge is set when a message
comes or goes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable

from gateway import metrics
from gateway.websocket.connection import Connection
from gateway.websocket.connections import Connections
from realtime.channels import TopicKey
from realtime.waiting.survival import Part

_part = Part("figures")


async def keep_measuring(
    projects: Collection[str], connections: Connections, topics: Collection[TopicKey]
) -> None:
    """Measure until cancelled; each measurement reads the three collections as they are then."""
    while True:
        with _part.survives():
            measure(projects, connections, topics)
        await asyncio.sleep(connections.timings.measure_seconds)


def measure(projects: Collection[str], connections: Iterable[Connection], topics: Iterable[TopicKey]) -> None:
    """Set the gauges of these projects; connections that close with a removed project are not counted."""
    subscriptions: Counter[str] = Counter()
    presences: Counter[str] = Counter()
    for connection in connections:
        try:
            session = connection.session
            subscriptions[session.project_id] += len(session.channels)
            presences[session.project_id] += len(session.presences)
            metrics.bytes_sent.inc(connection.send_queue.count())
        except Exception as error:  # the connection may have lost its transport
            connection.fail(error)
    open_topics = Counter(project for project, _ in topics)
    for project in projects:
        metrics.subscriptions.labels(project).set(subscriptions[project])
        metrics.presences.labels(project).set(presences[project])
        metrics.topics.labels(project).set(open_topics[project])
