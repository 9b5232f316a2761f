"""Stages that may wait between the order of a topic and its delivery, and the queue of steps meanwhile.

A stage finds out what must be known before the lines of a publication can be chosen: who may see a row, for
instance. While no stage needs anything, a step is delivered in the same call, and nothing is queued. Recovery
passes the pages of replays through the stages, too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, assert_never

from gateway.hub.hub import Delivery
from gateway.hub.topic import Resynced, RosterRead, Step, Topic, size_of
from gateway.wire.send_queue import SendQueue
from realtime.channels import TopicKey
from realtime.publications import Publication
from realtime.waiting.flag import Flag

# Queued for one topic. Beyond this the topic is BEHIND, and reads history again once the queue has room.
MAX_QUEUED_BYTES = 16 * 1024 * 1024


class Stage(Protocol):
    """Finds out what must be known of a publication before its lines can be chosen."""

    def needs(self, key: TopicKey, publication: Publication) -> bool:
        """Whether the publication must wait; called for each one, so it must be very cheap."""

    async def prepare(self, key: TopicKey, publication: Publication) -> None:
        """Wait until the lines can be chosen, and remember that for longer than a page of history takes."""


class Stages:
    """All stages of a node, in the order in which they run."""

    def __init__(self, stages: Sequence[Stage] = (), max_queued_bytes: int = MAX_QUEUED_BYTES) -> None:
        self._stages = stages
        self.max_queued_bytes = max_queued_bytes  # for one topic

    def __repr__(self) -> str:
        return f"<Stages {list(self._stages)}>"

    def need(self, key: TopicKey, publication: Publication) -> bool:
        return any(stage.needs(key, publication) for stage in self._stages)

    async def prepare(self, key: TopicKey, publications: Iterable[Publication]) -> bool:
        """Run the stages that these need; False if no stage had to wait, so nothing changed meanwhile."""
        has_waited = False
        for publication in publications if self._stages else ():
            for stage in self._stages:
                if stage.needs(key, publication):
                    has_waited = True
                    await stage.prepare(key, publication)
        return has_waited


@dataclass(frozen=True, slots=True)
class Outlet:
    """What follows the order of all topics: the stages, and the function that sends deliveries."""

    stages: Stages
    deliver: Callable[[list[Delivery[SendQueue]]], None]


class TopicQueue:
    """Steps of a topic that wait for a stage, or for a step before them; they are delivered in order."""

    __slots__ = ("_deliver", "_key", "_may_go_on", "_on_failure", "_stages", "_steps", "_task", "_topic")

    def __init__(
        self,
        key: TopicKey,
        topic: Topic[Any],
        stages: Stages,
        deliver: Callable[[Step], None],
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._key = key
        self._topic = topic
        self._stages = stages
        self._deliver = deliver
        self._on_failure = on_failure
        self._steps: deque[Step] | None = None  # the first one is in a stage; None: there are none
        self._task: asyncio.Task[None] | None = None  # while there are steps
        self._may_go_on = Flag(is_set=True)  # set while the queue has room

    def __repr__(self) -> str:
        return f"<TopicQueue {len(self)} steps, {self._topic.queued_bytes} bytes>"

    def __len__(self) -> int:
        return len(self._steps or ())

    def put(self, steps: Iterable[Step]) -> None:
        """Deliver steps at once, or after the steps before them and the stages.

        A LIVE topic with more than `max_queued_bytes` in its queue becomes BEHIND, and its queue is dropped.
        """
        for step in steps:
            if self._steps or self._waits(step):
                self._append(step)
            else:
                self._deliver(step)
        if self._topic.queued_bytes > self._stages.max_queued_bytes and self._topic.is_live:
            self.give_up()

    @property
    def has_room(self) -> bool:
        """Whether a caller that can wait may put in more steps."""
        return self._may_go_on.is_set()

    async def room(self) -> None:
        """Wait until the queue has room."""
        await self._may_go_on.wait()

    def give_up(self) -> None:
        """Drop all waiting steps: the topic goes back to the position of its subscribers."""
        self.close()
        self._topic.rewind()

    def close(self) -> None:
        """Drop all waiting steps."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        self._steps = None
        self._count(-self._topic.queued_bytes)

    def _waits(self, step: Step) -> bool:
        return isinstance(step, Publication) and self._stages.need(self._key, step)

    def _append(self, step: Step) -> None:
        if self._steps is None:
            self._steps = deque()
        self._steps.append(step)
        self._count(_size(step))
        if self._task is None:
            project, name = self._key
            self._task = asyncio.create_task(self._run(), name=f"stages of {project} {name}")

    def _count(self, more: int) -> None:
        self._topic.queued_bytes += more
        if self._topic.queued_bytes > self._stages.max_queued_bytes // 2:
            self._may_go_on.clear()
        else:
            self._may_go_on.set()

    async def _run(self) -> None:
        try:
            while self._steps:
                step = self._steps[0]
                if isinstance(step, Publication):
                    await self._stages.prepare(self._key, [step])
                self._steps.popleft()
                self._count(-_size(step))
                self._deliver(step)
        except Exception as error:
            self._task = None
            self._on_failure(error)
        else:
            self._task = self._steps = None


def _size(step: Step) -> int:
    match step:
        case Publication():
            return size_of(step)
        case RosterRead():
            return sum(map(len, step.members.values()))
        case Resynced():
            return 0
        case _:
            assert_never(step)
