"""Single flight: work is done once for all callers that ask at about the same time, and all share the answer.

The caller passes the work. Use it for work that loads a database, Redis or a key server, and that clients may
request as often as they like.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from realtime.logs.setup import shared_context

RECENT_SECONDS = 1.0  # between the starts of two answers

AnswerT = TypeVar("AnswerT")

Work = Callable[[], Coroutine[Any, Any, AnswerT]]


class SingleFlight(Generic[AnswerT]):
    """Works out one answer at a time, or one error. A caller may be cancelled without harm to the others."""

    def __init__(self, seconds: float = RECENT_SECONDS, name: str = "recent answer") -> None:
        self._seconds = seconds  # between the starts of two answers
        self._name = name  # of the tasks
        self._answer: asyncio.Task[AnswerT] | None = None  # the last answer, or the one under way
        self._began_at = 0.0  # monotonic, when `_answer` began
        self._next: asyncio.Task[AnswerT] | None = None  # begins when `_answer` ends

    def __repr__(self) -> str:
        return f"<SingleFlight {self._name}{', under way' if self.is_under_way else ''}>"

    @property
    def is_under_way(self) -> bool:
        return self._answer is not None and not self._answer.done()

    async def get(self, work_out: Work[AnswerT]) -> AnswerT:
        """Return the answer that is under way or began just now, otherwise a new one."""
        now = time.monotonic()
        if self._answer is None or (self._answer.done() and now - self._began_at >= self._seconds):
            return await asyncio.shield(self.start(work_out))
        return await asyncio.shield(self._answer)

    async def get_begun_after_now(self, work_out: Work[AnswerT]) -> AnswerT:
        """Return an answer that begins after this call: the next answer, which waits for the current one.

        However many callers ask at once, at most two answers serve all of them.
        """
        if self._next is None:
            self._next = self._task(self._work_out_next(work_out))
        return await asyncio.shield(self._next)

    def start(self, work_out: Work[AnswerT]) -> asyncio.Task[AnswerT]:
        """Begin a new answer, unless one is under way; return it without waiting."""
        if self._answer is None or self._answer.done():
            self._answer, self._began_at = self._task(work_out()), time.monotonic()
        return self._answer

    async def settle(self) -> None:
        """Wait until the answer that is under way has ended."""
        if self._answer is not None:
            await asyncio.wait([self._answer])

    async def close(self) -> None:
        """Cancel the answer that is under way, and with it the callers that wait for it."""
        if self._answer is not None:
            self._answer.cancel()
            await asyncio.wait([self._answer])

    async def _work_out_next(self, work_out: Work[AnswerT]) -> AnswerT:
        await self.settle()
        self._answer, self._began_at, self._next = self._next, time.monotonic(), None
        return await work_out()

    def _task(self, work: Coroutine[Any, Any, AnswerT]) -> asyncio.Task[AnswerT]:
        task = asyncio.create_task(work, name=self._name, context=shared_context())
        # All callers may be gone when the task fails: asyncio must not log its error.
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return task
