"""What waits for one client, until a writer writes it.

The hub's deliveries and a connection's own answers come in; bytes go to the transport. Nobody waits for
a peer here: what is queued are references to shared pieces, written in slices as the socket drains.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from typing import Protocol

from gateway import metrics
from gateway.wire.codec import Codec
from gateway.wire.events import Refused, ServerEvent
from gateway.wire.frames import PIECE_BYTES, close_frame
from realtime.settings.config import Limits
from realtime.waiting.survival import Part

SLICE_BYTES = PIECE_BYTES  # handed to the transport in one go; a piece that is as large goes uncopied
TRANSPORT_BYTES = PIECE_BYTES  # what the transport may still hold when it gets the next slice
PARTING_SECONDS = 30.0  # for a closed slow consumer to read why

_part = Part("pump")


class Writer(Protocol):
    """What writes for all send queues of a node."""

    def wake(self, queue: SendQueue) -> None:
        """Write what was queued, at the end of this turn of the loop."""

    def watch(self, queue: SendQueue) -> None:
        """Look at a queue by the clock: somebody waits for room in it, or for its client to read."""

    def part_from(self, queue: SendQueue) -> None:
        """Close a client that cannot follow."""


class SendQueue:
    """The way out to one client. Shared pieces are queued, never copied before they are written."""

    def __init__(
        self,
        transport: asyncio.Transport,
        connection_id: str,
        limits: Limits,
        writer: Writer,
        codec: Codec,
    ) -> None:
        self.connection_id = connection_id
        self.codec = codec  # of the protocol that this client speaks
        self._transport = transport
        self._limits = limits
        self._writer = writer
        self._queue: deque[bytes] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()  # replays that have a slice for it, in turn
        self._reading: asyncio.Future[None] | None = None  # its connection waits for the client to read,
        self._reading_bytes = 0  # until no more than that wait
        self._mark_bytes = 0  # written in all, when the present stretch over the bound began
        self._mark_time: float | None = None  # the beginning of that stretch; None under the bound
        self._rested_at: float | None = None  # when it last had taken all there was; what comes is our delay
        self.queued_bytes = 0
        self.written_bytes = 0
        self._counted_bytes = 0  # of these, by Prometheus
        self.is_scheduled = False  # the writer will write for it, in this turn or by its clock
        self.on_slow: Callable[[], None] = self.abort  # what to do when this client cannot follow
        self.owes: Callable[[], int] = _nothing  # bytes that replays have for it, beyond what is here

    def __repr__(self) -> str:
        return f"<SendQueue {self.queued_bytes} bytes queued, {self.waiting_bytes} waiting>"

    @property
    def waiting_bytes(self) -> int:
        """All that we have for this client and the network has not taken."""
        return self.queued_bytes + self.transport_bytes

    @property
    def transport_bytes(self) -> int:
        """What the network has not taken of what was written."""
        return self._transport.get_write_buffer_size()

    @property
    def pieces(self) -> Collection[bytes]:
        """What is queued."""
        return self._queue

    @property
    def has_room(self) -> bool:
        """Whether so little waits that a slice may follow."""
        return self.waiting_bytes <= TRANSPORT_BYTES

    @property
    def is_closed(self) -> bool:
        """Whether nothing reaches the client any more, or soon will not."""
        return self._transport.is_closing()

    def say(self, event: ServerEvent) -> None:
        """Queue one event, and count it."""
        if isinstance(event, Refused):
            metrics.errors.labels(event.code).inc()
        metrics.messages_sent.inc()
        self.send([self.codec.encode(event)])

    def send(self, pieces: list[bytes]) -> None:
        """Queue pieces of whole frames; they leave at the end of this turn of the loop, or when they can."""
        self._queue += pieces
        for piece in pieces:
            self.queued_bytes += len(piece)
        if not self.is_scheduled:
            self._writer.wake(self)

    def write(self) -> bool:
        """Hand the transport what it has room for; True when nothing is left."""
        if self._transport.is_closing():
            self.discard()
            return True
        while self._queue:
            if self._transport.get_write_buffer_size() > TRANSPORT_BYTES:
                return False
            self._transport.write(self._next_slice())
        return True

    def _next_slice(self) -> bytes:
        """Take up to SLICE_BYTES off the queue; the usual single piece is passed on as it is."""
        slice_ = self._queue.popleft()
        if self._queue and len(slice_) < SLICE_BYTES:
            pieces, size = [slice_], len(slice_)
            while self._queue and size < SLICE_BYTES:
                pieces.append(self._queue.popleft())
                size += len(pieces[-1])
            slice_ = b"".join(pieces)
        self.queued_bytes -= len(slice_)
        self.written_bytes += len(slice_)
        return slice_

    async def room(self) -> None:
        """Wait until a slice may follow, or the socket is closed; those who wait get their turns in order."""
        await asyncio.sleep(0)  # what was sent in this turn of the loop leaves first
        if not self._waiters and (self.has_room or self.is_closed):
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._writer.watch(self)
        try:
            await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    async def until(self, most_bytes: int) -> None:
        """Wait until no more than that waits for the client, or the socket is closed, or for `let_go`."""
        if self.waiting_bytes > most_bytes and not self.is_closed:
            self._reading, self._reading_bytes = asyncio.get_running_loop().create_future(), most_bytes
            self._writer.watch(self)
            try:
                await self._reading
            finally:
                self._reading = None

    def let_go(self) -> None:
        """End the wait of `until`, whatever waits still."""
        if self._reading is not None:
            _wake(self._reading)
            self._reading = None

    def let_next(self) -> bool:
        """Give the next who waits for room its turn; True when nobody is left who waits."""
        if self.is_closed or self.waiting_bytes <= self._reading_bytes:
            self.let_go()
        if self.is_closed:
            while self._waiters:
                _wake(self._waiters.popleft())
        elif self._waiters and self.has_room:
            _wake(self._waiters.popleft())
        return not self._waiters and self._reading is None

    def rest(self, now: float) -> None:
        """It has taken all that there was: until more comes, the client is not to blame."""
        self._rested_at = now

    def is_too_slow(self, now: float) -> bool:
        """Whether more than the bound waits, and for too long; what is left of a replay waits too.

        A burst may put far more than the bound before a healthy client: it is slow when it does not take
        as much as the bound within `slow_consumer_seconds`.
        """
        bound = self._limits.max_queue_bytes
        if self.waiting_bytes + self.owes() <= bound:
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
        """What the network has taken so far."""
        return self.written_bytes - self.transport_bytes

    def count(self) -> int:
        """How many bytes were written since this was asked last."""
        new, self._counted_bytes = self.written_bytes - self._counted_bytes, self.written_bytes
        return new

    def discard(self) -> None:
        self._queue.clear()
        self.queued_bytes = 0

    def part(self, last_words: bytes, code: int) -> None:
        """Close a client that may not be reading: no waiting for its answer, some time to read ours."""
        self.discard()
        parting = last_words + close_frame(code)
        self.written_bytes += len(parting)
        self._transport.write(parting)
        self._transport.close()
        self.let_go()
        asyncio.get_running_loop().call_later(PARTING_SECONDS, self._transport.abort)

    def part_slow(self) -> None:
        """The node has no room for what waits for this client; one that was parted from is cut off."""
        if self.is_closed:
            self.abort()
        else:
            self._writer.part_from(self)

    def abort(self) -> None:
        self._transport.abort()
        self.let_go()

    def fail(self, error: Exception) -> None:
        """Cut a client off for whom writing fails: it comes back, and the others are written to."""
        _part.note(error, self.connection_id)
        with _part.survives(self.connection_id):
            self.discard()
            self.abort()


def _nothing() -> int:
    return 0


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
