"""The queue of frames for one client, until a writer writes them.

The hub's deliveries and a connection's own answers come in; bytes go to the transport. A sender never waits
for the client: the queue holds references to shared pieces, which are written in slices as the socket drains.
A queue whose client keeps up holds nothing but a batch, which it shares with other queues.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Protocol

from gateway import metrics
from gateway.wire.batch import Batch
from gateway.wire.codec import Codec
from gateway.wire.events import Refused, ServerEvent
from gateway.wire.frames import PIECE_BYTES, close_frame
from realtime.settings.config import Limits
from realtime.waiting.survival import Part

SLICE_BYTES = PIECE_BYTES  # passed to the transport at once; a piece as large is not copied
TRANSPORT_BYTES = PIECE_BYTES  # the transport gets the next slice when it holds no more than this

_part = Part("pump")


class Writer(Protocol):
    """Writes the send queues of all clients of a node."""

    @property
    def parting_seconds(self) -> float:
        """Time that a closed slow consumer has to read the reason."""

    def wake(self, queue: SendQueue) -> None:
        """Write a queue at the end of this turn of the loop."""

    def gather(self, queue: SendQueue) -> None:
        """Write a queue at the end of this turn of the loop, or a moment later if the node is busy."""

    def watch(self, queue: SendQueue) -> None:
        """Check a queue on the timer: a task waits for room in it, or for its client to read."""

    def part_from(self, queue: SendQueue) -> None:
        """Close a client that reads too slowly."""


class SendQueue:
    """The send queue of one client. Queued pieces are shared, and not copied before they are written."""

    def __init__(
        self, transport: asyncio.Transport, connection_id: str, limits: Limits, writer: Writer, codec: Codec
    ) -> None:
        # What each delivery needs comes first: it lies together in memory.
        self._transport = transport
        self._writer = writer
        self._batch: Batch | None = None  # is sent behind `_queue`
        self._queue: list[bytes] | None = None  # None instead of an empty one
        self.is_scheduled = False  # the writer will write it, at the end of this turn or later
        self.is_awake = False  # the writer will write it at the end of this turn
        self.written_bytes = 0
        self.connection_id = connection_id
        self.codec = codec  # of this client's protocol
        self._limits = limits
        self._waiters: list[asyncio.Future[None]] | None = None  # replays that wait for room, in order
        self._reading: asyncio.Future[None] | None = None  # its connection waits for the client to read
        self._reading_bytes = 0  # `_reading` ends when no more than these bytes wait
        self._mark_bytes = 0  # bytes taken in all when the current period over the bound began
        self._mark_time: float | None = None  # when that period began; None within the bound
        self._rested_at: float | None = None  # when the client had taken all; what follows is our own delay
        self._queue_bytes = 0  # of `_queue`
        self._counted_bytes = 0  # written bytes that the metrics have
        self.messages = 0  # answers and replays, and what came live over subscriptions that have ended
        self.left_messages = 0  # of these, what came live
        self.errors = 0  # of these messages
        self.on_slow: Callable[[], None] = self.abort  # called when this client reads too slowly
        self.replay_bytes: Callable[[], int] = _nothing  # that replays have left to send

    def __repr__(self) -> str:
        return f"<SendQueue {self.queued_bytes} bytes queued, {self.waiting_bytes} waiting>"

    @property
    def queued_bytes(self) -> int:
        """Bytes that were not written yet."""
        return self._queue_bytes if self._batch is None else self._queue_bytes + self._batch.size

    @property
    def waiting_bytes(self) -> int:
        """Bytes for this client that the network has not taken."""
        return self.queued_bytes + self.transport_bytes

    @property
    def transport_bytes(self) -> int:
        """Written bytes that the network has not taken."""
        return self._transport.get_write_buffer_size()

    @property
    def pieces(self) -> Collection[bytes]:
        """The queued pieces."""
        return [*(self._queue or ()), *(self._batch.pieces if self._batch is not None else ())]

    @property
    def piece_count(self) -> int:
        """How many pieces are queued."""
        return len(self._queue or ()) + (0 if self._batch is None else len(self._batch.pieces))

    @property
    def has_room(self) -> bool:
        """Whether few enough bytes wait that a slice may follow."""
        return self.waiting_bytes <= TRANSPORT_BYTES

    @property
    def is_closed(self) -> bool:
        """Whether the connection is closed or closing, so that nothing more reaches the client."""
        return self._transport.is_closing()

    def left(self, messages: int) -> None:
        """Count the live messages of a subscription that has ended."""
        self.messages += messages
        self.left_messages += messages

    def say(self, event: ServerEvent) -> None:
        """Queue one event, and count it."""
        if isinstance(event, Refused):
            metrics.errors.labels(event.code).inc()
            self.errors += 1
        metrics.messages_sent.inc()
        self.messages += 1
        self.send([self.codec.encode(event)])

    def send(self, pieces: list[bytes]) -> None:
        """Queue pieces of whole frames, to write at the end of this turn or as the socket drains."""
        self._own_queue().extend(pieces)
        self._queue_bytes += sum(map(len, pieces))
        if not self.is_awake:
            self._writer.wake(self)

    def deliver(self, batch: Batch) -> None:
        """Queue a batch; a busy node may add more to it before it is written."""
        if self._batch is not None:
            self._own_queue()
        self._batch = batch
        if not self.is_scheduled:
            self._writer.gather(self)

    def write(self) -> bool:
        """Write as much as the transport has room for; True when the queue is empty."""
        transport, batch = self._transport, self._batch
        if transport.is_closing():
            self.discard()
            return True
        if transport.get_write_buffer_size() > TRANSPORT_BYTES:
            if batch is not None and not batch.is_open:
                self._own_queue()  # others have joined its pieces; nobody counts that copy while it is kept
            return batch is None and self._queue is None
        if batch is not None and self._queue is None and batch.size <= SLICE_BYTES:
            self._batch, batch.is_open = None, False
            self.written_bytes += batch.size
            transport.write(batch.joined)
            return True
        return self._write_slices()

    def _write_slices(self) -> bool:
        queue, at = self._own_queue(), 0
        while at < len(queue) and self._transport.get_write_buffer_size() <= TRANSPORT_BYTES:
            begin, size = at, 0
            while at < len(queue) and size < SLICE_BYTES:
                size += len(queue[at])
                at += 1
            self._queue_bytes -= size
            self.written_bytes += size
            self._transport.write(queue[begin] if at == begin + 1 else b"".join(queue[begin:at]))
        del queue[:at]
        self._queue = queue or None
        return not queue

    def _own_queue(self) -> list[bytes]:
        """Return the queue with all that is queued; nothing more is added to the batch."""
        queue = self._queue = self._queue or []
        if (batch := self._batch) is not None:
            self._batch, batch.is_open = None, False
            queue += batch.pieces
            self._queue_bytes += batch.size
        return queue

    async def room(self) -> None:
        """Wait until a slice may follow, or the socket is closed; waiting tasks resume in order."""
        await asyncio.sleep(0)  # what was queued in this turn of the loop is written first
        if not self._waiters and (self.has_room or self.is_closed):
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters = [*(self._waiters or ()), waiter]
        self._writer.watch(self)
        try:
            await waiter
        finally:
            self._waiters = [one for one in self._waiters or () if one is not waiter] or None

    async def until(self, most_bytes: int) -> None:
        """Wait until at most `most_bytes` wait, the socket is closed, or `let_go` is called."""
        if self.waiting_bytes > most_bytes and not self.is_closed:
            self._reading, self._reading_bytes = asyncio.get_running_loop().create_future(), most_bytes
            self._writer.watch(self)
            try:
                await self._reading
            finally:
                self._reading = None

    def let_go(self) -> None:
        """End the wait of `until`, however many bytes still wait."""
        if self._reading is not None:
            _wake(self._reading)
            self._reading = None

    def let_next(self) -> bool:
        """Resume the next task that waits for room; True when no task is left waiting."""
        if self.is_closed or self.waiting_bytes <= self._reading_bytes:
            self.let_go()
        if self._waiters is not None and (self.is_closed or self.has_room):
            some = len(self._waiters) if self.is_closed else 1
            for waiter in self._waiters[:some]:
                _wake(waiter)
            self._waiters = self._waiters[some:] or None
        return self._waiters is None and self._reading is None

    def rest(self, now: float) -> None:
        """Note that the client has taken everything: until more is queued, it is not to blame."""
        self._rested_at = now

    def is_too_slow(self, now: float) -> bool:
        """Whether more than `max_queue_bytes` wait for too long; the rest of a replay counts, too.

        A burst may queue far more than this bound for a healthy client: a client is slow if it does not take
        as much as the bound within `slow_consumer_seconds`.
        """
        bound = self._limits.max_queue_bytes
        if self.waiting_bytes + self.replay_bytes() <= bound:
            self._mark_time = self._rested_at = None
            return False
        if self._rested_at is not None and self._mark_time is not None:
            self._mark_time += now - self._rested_at
        self._rested_at = None
        if self._mark_time is None or self.taken_bytes - self._mark_bytes >= bound:
            self._mark_time, self._mark_bytes = now, self.taken_bytes
        return now - self._mark_time >= self._limits.slow_consumer_seconds

    @property
    def taken_bytes(self) -> int:
        """Bytes that the network has taken so far."""
        return self.written_bytes - self.transport_bytes

    def count(self) -> int:
        """Return the bytes written since the last call."""
        new, self._counted_bytes = self.written_bytes - self._counted_bytes, self.written_bytes
        return new

    def discard(self) -> None:
        """Drop all that is queued."""
        self._own_queue()
        self._queue, self._queue_bytes = None, 0

    def part(self, last_words: bytes, code: int) -> None:
        """Close a client that may not read: do not wait for its close frame, give it time to read ours."""
        self.discard()
        parting = last_words + close_frame(code)
        self.written_bytes += len(parting)
        self._transport.write(parting)
        self._transport.close()
        self.let_go()
        asyncio.get_running_loop().call_later(self._writer.parting_seconds, self._transport.abort)

    def part_slow(self) -> None:
        """Close the client, since the node has no room for its queue; abort it if it is closing already."""
        if self.is_closed:
            self.abort()
        else:
            self._writer.part_from(self)

    def abort(self) -> None:
        self._transport.abort()
        self.let_go()

    def fail(self, error: Exception) -> None:
        """Abort a client for which writing failed: it reconnects, and other clients are not affected."""
        _part.note(error, self.connection_id)
        with _part.survives(self.connection_id):
            self.discard()
            self.abort()


def _nothing() -> int:
    return 0


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
