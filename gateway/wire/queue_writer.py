"""Writes the send queues of all sockets of a node, and closes the clients that read too slowly.

A send queue wakes the writer when it gets pieces. The writer waits for the end of the loop's turn, so that
all pieces of one turn leave in one write for each socket. Deliveries to many clients wait a moment longer
while the node is busy (`gathering`). An answer to one client does not wait, and what waits for that client
leaves with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gateway import metrics
from gateway.wire.gathering import Gathering
from gateway.wire.send_queue import SendQueue
from realtime.logs.setup import shared_context

PARTING_SECONDS = 30.0  # for a closed slow consumer to read the reason
SAMPLE_QUEUES = 100  # about so many of those with deliveries show how many a queue has
TICK_SECONDS = 0.01  # between two checks of the sockets that are behind, at least
TICK_SHARE = 0.2  # of the time, at most, for these checks; they come less often if they take more


class QueueWriter:
    """Writes queued pieces: once a turn of the loop, and on a slow timer for sockets that are behind."""

    def __init__(self, parting_seconds: float = PARTING_SECONDS, gather_seconds: float = 0.0) -> None:
        self.parting_seconds = parting_seconds
        self._gathering = Gathering(gather_seconds)
        self._awake: list[SendQueue] = []  # queues that got answers in this turn
        self._gathered: list[SendQueue] = []  # queues that got deliveries since the last write of all of them
        self._is_turn_due = False  # `_turn` runs at the end of this turn
        self._is_gathering = False  # a timer will write `_gathered`
        self._after_write: list[Callable[[], None]] = []  # called when `_gathered` is written
        self._behind: set[SendQueue] = set()  # queues with more than their transport takes, or with waiters
        self._ticking = False
        self._context = shared_context()  # so that its log lines have the ids of no connection

    def __repr__(self) -> str:
        return f"<QueueWriter {len(self._behind)} sockets behind>"

    def wake(self, queue: SendQueue) -> None:
        """Write a queue at the end of this turn of the loop."""
        queue.is_awake = queue.is_scheduled = True
        self._awake.append(queue)
        self._turn_soon()

    def gather(self, queue: SendQueue) -> None:
        """Write a queue at the end of this turn of the loop, or a moment later if the node is busy."""
        queue.is_scheduled = True
        self._gathered.append(queue)
        self._turn_soon()

    def after_write(self, call: Callable[[], None]) -> None:
        """Call a function once, when all that is gathered now has been passed to the network."""
        self._after_write.append(call)
        self._turn_soon()

    def watch(self, queue: SendQueue) -> None:
        """Check a queue on the timer: a task waits for room in it, or for its client to read."""
        self._behind.add(queue)
        self._tick_if_needed()

    def forget(self, queue: SendQueue) -> None:
        """Drop the remaining pieces of a closed socket, and count its bytes."""
        queue.discard()
        self._behind.discard(queue)
        metrics.bytes_sent.inc(queue.count())

    def _turn_soon(self) -> None:
        if not self._is_turn_due:
            self._is_turn_due = True
            asyncio.get_running_loop().call_soon(self._turn, context=self._context)

    def _turn(self) -> None:
        self._is_turn_due = False
        awake, self._awake = self._awake, []
        for queue in awake:
            queue.is_awake = False
        self._write(awake)
        if not self._is_gathering and (self._gathered or self._after_write):
            self._write_or_gather()
        self._tick_if_needed()

    def _write_or_gather(self) -> None:
        some = self._gathered[:: 1 + len(self._gathered) // SAMPLE_QUEUES]
        # An answer may have taken along what waited for a client.
        counts = [count for queue in some if (count := queue.piece_count)]
        seconds = self._gathering.seconds(sum(counts), len(counts), time.monotonic())
        if seconds:
            self._is_gathering = True
            asyncio.get_running_loop().call_later(seconds, self._end_gathering, context=self._context)
        else:
            self._write_gathered()

    def _end_gathering(self) -> None:
        self._is_gathering = False
        self._write_gathered()
        self._tick_if_needed()

    def _write_gathered(self) -> None:
        """Write all queues with deliveries, and measure the turn of the loop in which this happens."""
        began_at = time.monotonic()
        gathered, self._gathered = self._gathered, []
        after_write, self._after_write = self._after_write, []
        self._write(gathered)
        # The loop passes to the network what is written in a turn when the turn ends.
        asyncio.get_running_loop().call_soon(self._wrote, began_at, after_write, context=self._context)

    def _wrote(self, began_at: float, after_write: list[Callable[[], None]]) -> None:
        self._gathering.wrote(began_at, time.monotonic())
        for call in after_write:
            call()

    def _write(self, queues: list[SendQueue]) -> None:
        for queue in queues:
            try:
                if queue.write():
                    queue.is_scheduled = False
                else:
                    self._behind.add(queue)
            except Exception as error:
                queue.fail(error)

    def _tick_if_needed(self, seconds: float = TICK_SECONDS) -> None:
        if self._behind and not self._ticking:
            self._ticking = True
            asyncio.get_running_loop().call_later(seconds, self._tick, context=self._context)

    def _tick(self) -> None:
        self._ticking = False
        now, began = time.monotonic(), time.thread_time()  # CPU time of this thread, without that of others
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
        """Close a client that reads too slowly."""
        self._behind.discard(queue)
        metrics.slow_consumers.inc()
        queue.on_slow()
