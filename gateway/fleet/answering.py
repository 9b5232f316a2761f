"""Answers questions about this node: those of other nodes, which come to its inbox, and its own."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Protocol, assert_never

from gateway import metrics
from gateway.fleet.asking import publish
from gateway.fleet.channels import channels_of, count_channels, count_messages
from gateway.fleet.messages import (
    Answer,
    Answered,
    AskChannels,
    AskClients,
    AskCount,
    AskDisconnect,
    Asked,
    AskStats,
    Clients,
    Count,
    Question,
    Stats,
    written,
)
from gateway.fleet.timings import FleetTimings
from gateway.hub.hub import Hub
from realtime.errors import Unavailable
from realtime.redis.client import Store
from realtime.waiting.single_flight import SingleFlight
from realtime.waiting.survival import Part

_part = Part("fleet")


class NodeClients(Protocol):
    """The clients of this node, as `gateway.websocket` has them."""

    async def stats(self, project: str, channels: int, live_messages: int) -> Stats: ...

    async def count(self, project: str, user_id: str) -> int: ...

    async def page(self, project: str, question: AskClients) -> Clients: ...

    async def disconnect(self, project: str, question: AskDisconnect) -> int: ...


class Answering:
    """What this node answers; `run` answers the questions of other nodes."""

    def __init__(
        self, node_id: str, store: Store, hub: Hub[Any], clients: NodeClients, timings: FleetTimings
    ) -> None:
        self.node_id = node_id
        self._store = store
        self._hub = hub
        self._clients = clients
        self._timings = timings
        self._waiting: deque[Asked] = deque()
        self._is_asked = asyncio.Event()
        self._recent: dict[str, SingleFlight[Stats]] = {}  # of each project with clients of late

    def __repr__(self) -> str:
        return f"<Answering {len(self._waiting)} questions wait>"

    def take(self, message: Asked) -> None:
        """Take a question of another node, to answer it soon."""
        if len(self._waiting) >= self._timings.most_waiting:
            metrics.fleet_messages_ignored.inc()
            return
        self._waiting.append(message)
        self._is_asked.set()

    async def run(self) -> None:
        """Answer questions until cancelled, a few at a time."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._timings.at_once):
                tasks.create_task(self._keep_answering(), name=f"answer other nodes {number}")

    async def _keep_answering(self) -> None:
        while True:
            while not self._waiting:
                self._is_asked.clear()
                await self._is_asked.wait()
            asked = self._waiting.popleft()
            with _part.survives(asked.project):
                await self._reply(asked)

    async def _reply(self, asked: Asked) -> None:
        answer = await self.answer(asked.project, asked.question)
        message = written(Answered(id=asked.id, node=self.node_id, answer=answer))
        try:
            await self._store.send([publish(asked.node, message)])
        except Unavailable:
            return  # it is logged; the other node lists this one as missing

    async def answer(self, project: str, question: Question) -> Answer:
        """Answer for this node alone."""
        match question:
            case AskStats():
                return await self._stats(project)
            case AskCount():
                return Count(await self._clients.count(project, question.user_id))
            case AskClients():
                return await self._clients.page(project, question)
            case AskChannels():
                return await channels_of(self._hub, project, question)
            case AskDisconnect():
                return Count(await self._clients.disconnect(project, question))
            case _:
                assert_never(question)

    async def _stats(self, project: str) -> Stats:
        if len(self._recent) > self._timings.most_waiting:  # whoever writes to Redis can make names up
            self._recent.clear()
        flight = self._recent.setdefault(project, SingleFlight(self._timings.recent_seconds, "stats"))
        return await flight.get(lambda: self._work_out_stats(project))

    async def _work_out_stats(self, project: str) -> Stats:
        channels = await count_channels(self._hub, project)
        return await self._clients.stats(project, channels, await count_messages(self._hub, project))
