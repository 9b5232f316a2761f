"""The place between a topic's order and its delivery where a stage may wait, and what waits there meanwhile.

A stage finds out what has to be known before the lines of a publication can be chosen: who may see a row, for
instance. While none needs anything, a step goes to delivery in the same call, and nothing is queued. Replays
come here, too, with the pages that they are about to send.
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

# Of one topic that waits for a stage. Beyond it the topic falls behind, and reads again as the stage goes on.
MAX_QUEUED_BYTES = 16 * 1024 * 1024


class Stage(Protocol):
    """Something that has to be known of a publication before its lines can be chosen."""

    def needs(self, key: TopicKey, publication: Publication) -> bool:
        """Whether the publication has to wait; asked for each, so it must cost next to nothing."""

    async def prepare(self, key: TopicKey, publication: Publication) -> None:
        """Return when the lines can be chosen, and remember that for longer than a page of history takes."""


class Stages:
    """All stages of a node, in the order in which they are asked."""

    def __init__(self, stages: Sequence[Stage] = ()) -> None:
        self._stages = stages

    def __repr__(self) -> str:
        return f"<Stages {list(self._stages)}>"

    def need(self, key: TopicKey, publication: Publication) -> bool:
        return any(stage.needs(key, publication) for stage in self._stages)

    async def prepare(self, key: TopicKey, publications: Iterable[Publication]) -> bool:
        """Wait for what is needed of these; False if nothing was, and nothing has happened meanwhile."""
        has_waited = False
        for publication in publications if self._stages else ():
            for stage in self._stages:
                if stage.needs(key, publication):
                    has_waited = True
                    await stage.prepare(key, publication)
        return has_waited


@dataclass(frozen=True, slots=True)
class Outlet:
    """What comes after the order of all topics: the stages, and who carries out deliveries."""

    stages: Stages
    deliver: Callable[[list[Delivery[SendQueue]]], None]


class TopicQueue:
    """The steps of a topic that wait for a stage, or for one that does; they are delivered in order."""

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
        self._steps: deque[Step] = deque()  # the first one is with a stage
        self._task: asyncio.Task[None] | None = None  # while there are some
        self._may_go_on = asyncio.Event()  # set while there is room for more
        self._may_go_on.set()

    def __repr__(self) -> str:
        return f"<TopicQueue {len(self._steps)} steps, {self._topic.queued_bytes} bytes>"

    def __len__(self) -> int:
        return len(self._steps)

    def put(self, steps: Iterable[Step]) -> None:
        """Deliver steps at once, or when those before them are delivered and the stages have done theirs.

        A topic that is LIVE and has more in here than MAX_QUEUED_BYTES is BEHIND then.
        """
        for step in steps:
            if self._steps or self._waits(step):
                self._append(step)
            else:
                self._deliver(step)
        if self._topic.queued_bytes > MAX_QUEUED_BYTES and self._topic.is_live:
            self.give_up()

    @property
    def has_room(self) -> bool:
        """Whether somebody who can wait may put in more."""
        return self._may_go_on.is_set()

    async def room(self) -> None:
        """Wait until there is room."""
        await self._may_go_on.wait()

    def give_up(self) -> None:
        """Deliver nothing of what waits: the topic goes back to where its subscribers are."""
        self.close()
        self._topic.rewind()

    def close(self) -> None:
        """Forget what waits."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        self._steps.clear()
        self._count(-self._topic.queued_bytes)

    def _waits(self, step: Step) -> bool:
        return isinstance(step, Publication) and self._stages.need(self._key, step)

    def _append(self, step: Step) -> None:
        self._steps.append(step)
        self._count(_size(step))
        if self._task is None:
            project, name = self._key
            self._task = asyncio.create_task(self._run(), name=f"stages of {project} {name}")

    def _count(self, more: int) -> None:
        self._topic.queued_bytes += more
        if self._topic.queued_bytes > MAX_QUEUED_BYTES // 2:
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
            self._task = None


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
