"""What a project does on all nodes: each node that lives is asked, and the answers are put together.

REST asks here. Every answer comes with the nodes that did not answer in time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from gateway import metrics
from gateway.fleet.answering import Answering
from gateway.fleet.asking import Asking
from gateway.fleet.messages import (
    Answered,
    AskChannels,
    AskClients,
    AskCount,
    AskDisconnect,
    Asked,
    AskStats,
    Channels,
    Clients,
    Count,
    Question,
    Stats,
    is_id,
    read,
)
from gateway.fleet.paging import (
    START,
    ChannelPage,
    ClientPage,
    Cursor,
    end_of,
    first_nodes,
    nodes_for_page,
    page_of_channels,
    page_of_clients,
    share_bytes,
)
from gateway.fleet.sharing import Sharing
from gateway.fleet.timings import FleetTimings
from gateway.presence.node import Node
from realtime.errors import Unavailable
from realtime.waiting.single_flight import SingleFlight

FoundT = TypeVar("FoundT")
AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True, slots=True)
class Found(Generic[FoundT]):
    """What was found, and the nodes that were asked and did not answer."""

    value: FoundT
    missing: list[str]


@dataclass(frozen=True, slots=True)
class FleetStats:
    """The figures of each node that answered; `has_redis` is whether other nodes could be asked."""

    nodes: dict[str, Stats]
    has_redis: bool


@dataclass(frozen=True, slots=True)
class ClientsWanted:
    """Which page of which clients."""

    limit: int
    after: Cursor = START
    user_id: str | None = None
    node: str | None = None


class Fleet:
    """All nodes, as this one can ask them."""

    def __init__(self, node: Node, asking: Asking, answering: Answering, timings: FleetTimings) -> None:
        self._node = node
        self._asking = asking
        self._answering = answering
        self._timings = timings
        self._sharing = Sharing()
        self._stats: dict[str, SingleFlight[Found[FleetStats]]] = {}  # by project that is served

    def __repr__(self) -> str:
        return f"<Fleet {self._asking!r} {self._answering!r}>"

    def received(self, data: bytes) -> None:
        """Take a message from the inbox of this node."""
        match read(data):
            case Asked() as question:
                self._answering.take(question)
            case Answered() as answer:
                self._asking.take(answer)
            case None:
                metrics.fleet_messages_ignored.inc()

    async def run(self) -> None:
        await self._answering.run()

    async def stats(self, project: str) -> Found[FleetStats]:
        """Return the figures of all nodes, less than two seconds old; of this node alone without Redis."""
        flight = self._stats.setdefault(project, SingleFlight(name="ask the nodes"))
        return await flight.get(lambda: self._ask_for_stats(project))

    async def _ask_for_stats(self, project: str) -> Found[FleetStats]:
        deadline = time.monotonic() + self._timings.stats_seconds
        try:
            async with asyncio.timeout(self._timings.stats_seconds):
                counts, has_redis = await self._counts(project), True
        except (Unavailable, TimeoutError):
            counts, has_redis = {self._node.id: 0}, False
        questions = dict.fromkeys(counts, AskStats())
        found = await self._ask(project, questions, Stats, max(0.0, deadline - time.monotonic()))
        return Found(FleetStats(found.value, has_redis), found.missing)

    async def clients(self, project: str, wanted: ClientsWanted) -> Found[ClientPage]:
        """Return a page of clients, in the order of nodes and connection ids; raises Unavailable."""
        key = ("clients", project, wanted)
        found: Found[ClientPage] = await self._sharing.get(key, lambda: self._clients(project, wanted))
        return found

    async def _clients(self, project: str, wanted: ClientsWanted) -> Found[ClientPage]:
        deadline = time.monotonic() + self._timings.answer_seconds
        counts, missing = await self._counts_of(project, wanted)
        after, asked, answers = wanted.after, list[str](), dict[str, Clients]()
        page = ClientPage([], None)
        nodes = first_nodes(counts, after, wanted.limit)
        while nodes:
            seconds = max(0.0, deadline - time.monotonic())
            answers |= (await self._ask_clients(project, nodes, wanted, seconds)).value
            asked += nodes
            page = page_of_clients(asked, answers, wanted.limit, others_follow=max(counts) > asked[-1])
            if page.next != end_of(asked[-1]) or time.monotonic() >= deadline:
                break  # it is full, or the last one, or others must wait for the next page
            nodes = nodes_for_page(counts, asked[-1], wanted.limit - len(page.clients))
        return Found(page, sorted({*missing, *(node for node in asked if node not in answers)}))

    async def _counts_of(self, project: str, wanted: ClientsWanted) -> tuple[dict[str, int], list[str]]:
        """Return how many clients of the wanted kind each node probably has, and who did not say."""
        counts = await self._counts(project)
        if wanted.node is not None:
            counts = {node: number for node, number in counts.items() if node == wanted.node}
        if wanted.user_id is None:
            return counts, []
        later = [node for node in counts if node >= wanted.after.node]
        questions = dict.fromkeys(later, AskCount(wanted.user_id))
        # Half of the time at most, so that a node that is silent leaves the others time for their clients.
        found = await self._ask(project, questions, Count, self._timings.answer_seconds / 2)
        return {node: count.number for node, count in found.value.items()}, found.missing

    async def _ask_clients(
        self, project: str, nodes: Sequence[str], wanted: ClientsWanted, seconds: float
    ) -> Found[dict[str, Clients]]:
        share = share_bytes(len(nodes))
        questions = {
            node: AskClients(
                after=wanted.after.connection_id if node == wanted.after.node else "",
                limit=wanted.limit + 1,
                max_bytes=share,
                user_id=wanted.user_id,
            )
            for node in nodes
        }
        return await self._ask(project, questions, Clients, seconds)

    async def channels(self, project: str, after: str, prefix: str, limit: int) -> Found[ChannelPage]:
        """Return a page of channels in the order of their names; raises Unavailable."""
        key = ("channels", project, after, prefix, limit)
        work = lambda: self._channels(project, after, prefix, limit)  # noqa: E731
        found: Found[ChannelPage] = await self._sharing.get(key, work)
        return found

    async def _channels(self, project: str, after: str, prefix: str, limit: int) -> Found[ChannelPage]:
        nodes = await self._counts(project)
        share = share_bytes(len(nodes))
        question = AskChannels(after=after, prefix=prefix, limit=limit + 1, max_bytes=share)
        questions = dict.fromkeys(nodes, question)
        found = await self._ask(project, questions, Channels, self._timings.answer_seconds)
        return Found(page_of_channels(found.value.values(), limit), found.missing)

    async def disconnect(self, project: str, question: AskDisconnect) -> Found[int]:
        """Close connections on all nodes; return how many, which may still be closing. Raises Unavailable."""
        questions = dict.fromkeys(await self._counts(project), question)
        found = await self._ask(project, questions, Count, self._timings.answer_seconds)
        return Found(sum(one.number for one in found.value.values()), found.missing)

    async def _counts(self, project: str) -> dict[str, int]:
        """Return the nodes that live, and how many clients each of them reported; raises Unavailable."""
        reports = await self._node.all_reports()
        counts = {report.id: report.connections.get(project, 0) for report in reports if is_id(report.id)}
        return counts | {self._node.id: self._node.connections[project]}

    async def _ask(
        self, project: str, questions: Mapping[str, Question], kind: type[AnswerT], seconds: float
    ) -> Found[dict[str, AnswerT]]:
        """Ask nodes, this one directly."""
        others = {node: question for node, question in questions.items() if node != self._node.id}
        asking = self._asking.ask(project, others, seconds)
        if (own := questions.get(self._node.id)) is None:
            answers = await asking
        else:
            answers, answer = await asyncio.gather(asking, self._answering.answer(project, own))
            answers[self._node.id] = answer
        found: dict[str, AnswerT] = {n: answer for n, answer in answers.items() if isinstance(answer, kind)}
        return Found(found, sorted(node for node in questions if node not in found))
