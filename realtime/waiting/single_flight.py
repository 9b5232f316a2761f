"""An answer that is worked out once for all who ask at about the same time.

Whoever asks says how it is worked out; the answer is then given to others for a moment. For what costs a
database or Redis something, and may be asked as often as anybody likes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from realtime.logs.setup import shared_context

RECENT_SECONDS = 1.0  # between two that begin

AnswerT = TypeVar("AnswerT")


class SingleFlight(Generic[AnswerT]):
    """One answer; an error is one, too."""

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds = seconds  # between two that begin, if not RECENT_SECONDS
        self._answer: asyncio.Task[AnswerT] | None = None  # the last, or the one that is worked out now
        self._began_at = 0.0  # monotonic, when it was asked for

    async def get(self, work_out: Callable[[], Coroutine[Any, Any, AnswerT]]) -> AnswerT:
        """Return the answer that is under way or was begun just now, else a new one."""
        answer, now = self._answer, time.monotonic()
        seconds = RECENT_SECONDS if self._seconds is None else self._seconds
        if answer is None or (answer.done() and now - self._began_at >= seconds):
            answer = asyncio.create_task(work_out(), name="recent answer", context=shared_context())
            # Those who asked may be gone when it fails.
            answer.add_done_callback(lambda task: task.cancelled() or task.exception())
            self._answer, self._began_at = answer, now
        return await asyncio.shield(answer)
