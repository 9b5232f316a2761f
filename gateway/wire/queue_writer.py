"""Writes for all sockets of a node what waits in their send queues, and closes those that cannot follow.

A send queue wakes it when it gets something. Nothing is written before the end of a turn of the loop, so that
what comes within one leaves in one write a socket.
"""

from __future__ import annotations

import asyncio
import time

from gateway import metrics
from gateway.wire.send_queue import SendQueue
from realtime.logs.setup import shared_context

TICK_SECONDS = 0.01  # between two looks at the sockets that are behind,
TICK_SHARE = 0.2  # or longer, so that looking takes no larger part of the time


class QueueWriter:
    """Writes what is queued: once a turn of the loop, and by a slow clock for those behind."""

    def __init__(self) -> None:
        self._awake: list[SendQueue] = []  # got something in this turn
        self._behind: set[SendQueue] = set()  # have more than their transport takes
        self._ticking = False
        self._context = shared_context()  # nobody's ids, whoever wakes it

    def __repr__(self) -> str:
        return f"<QueueWriter {len(self._behind)} sockets behind>"

    def wake(self, queue: SendQueue) -> None:
        """Write what was queued, at the end of this turn of the loop."""
        queue.is_scheduled = True
        if not self._awake:
            asyncio.get_running_loop().call_soon(self._turn, context=self._context)
        self._awake.append(queue)

    def watch(self, queue: SendQueue) -> None:
        """Look at a queue by the clock: somebody waits for room in it, or for its client to read."""
        self._behind.add(queue)
        self._tick_if_needed()

    def forget(self, queue: SendQueue) -> None:
        """Drop what the queue of a closed socket still has."""
        queue.discard()
        self._behind.discard(queue)
        metrics.bytes_sent.inc(queue.count())

    def _turn(self) -> None:
        awake, self._awake = self._awake, []
        for queue in awake:
            try:
                if queue.write():
                    queue.is_scheduled = False
                else:
                    self._behind.add(queue)
            except Exception as error:
                queue.fail(error)
        self._tick_if_needed()

    def _tick_if_needed(self, seconds: float = TICK_SECONDS) -> None:
        if self._behind and not self._ticking:
            self._ticking = True
            asyncio.get_running_loop().call_later(seconds, self._tick)

    def _tick(self) -> None:
        self._ticking = False
        now, began = time.monotonic(), time.thread_time()  # of this thread: what others take is not our cost
        for queue in list(self._behind):
            try:
                self._look_at(queue, now)
            except Exception as error:
                self._behind.discard(queue)
                queue.fail(error)
        self._tick_if_needed(max(TICK_SECONDS, (time.thread_time() - began) / TICK_SHARE))

    def _look_at(self, queue: SendQueue, now: float) -> None:
        is_written = queue.write()
        if is_written:
            queue.is_scheduled = False
        if queue.let_next() and is_written:
            self._behind.discard(queue)
            queue.rest(now)
            return
        if queue.is_too_slow(now):
            self.part_from(queue)

    def part_from(self, queue: SendQueue) -> None:
        """Close a client that cannot follow."""
        self._behind.discard(queue)
        metrics.slow_consumers.inc()
        queue.on_slow()
