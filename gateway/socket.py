"""What waits for one client, and the pump that writes it.

The hub's deliveries and a connection's own answers come in; bytes go to the transport. Nobody waits for
a peer here: what is queued are references to shared pieces, written in slices as the socket drains.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from gateway import metrics
from gateway.frames import PIECE_BYTES, close_frame
from realtime.config import Limits
from realtime.logs import shared_context
from realtime.waiting.survival import Part

SLICE_BYTES = 4 * PIECE_BYTES  # handed to the transport in one go
TRANSPORT_BYTES = PIECE_BYTES  # what the transport may still hold when it gets the next slice
TICK_SECONDS = 0.01  # between two looks at the sockets that are behind
BURST = 128  # times max_queue_bytes that may wait for a client, however well it reads
PARTING_SECONDS = 30.0  # for a closed slow consumer to read why

_part = Part("pump")


class Socket:
    """The way out to one client. Shared pieces are queued, never copied before they are written."""

    def __init__(self, transport: asyncio.Transport, connection_id: str, limits: Limits, pump: Pump) -> None:
        self.connection_id = connection_id
        self._transport = transport
        self._limits = limits
        self._pump = pump
        self._queue: deque[bytes] = deque()
        self._mark_bytes = 0  # written in all, when the present stretch over the bound began
        self._mark_time: float | None = None  # the beginning of that stretch; None under the bound
        self.queued_bytes = 0
        self.written_bytes = 0
        self._counted_bytes = 0  # of these, by Prometheus
        self.is_pumped = False  # the pump will write for it, in this turn or by its clock
        self.on_slow: Callable[[], None] = self.abort  # what to do when this client cannot follow

    def __repr__(self) -> str:
        return f"<Socket {self.queued_bytes} bytes queued, {self.waiting_bytes} waiting>"

    @property
    def waiting_bytes(self) -> int:
        """All that we have for this client and the network has not taken."""
        return self.queued_bytes + self._transport.get_write_buffer_size()

    @property
    def is_closed(self) -> bool:
        """Whether nothing reaches the client any more, or soon will not."""
        return self._transport.is_closing()

    def send(self, pieces: list[bytes]) -> None:
        """Queue pieces of whole frames; they leave at the end of this turn of the loop, or when they can."""
        self._queue += pieces
        for piece in pieces:
            self.queued_bytes += len(piece)
        if not self.is_pumped:
            self._pump.wake(self)

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

    def is_too_slow(self, now: float) -> bool:
        """Whether more than the bound waits, and for too long.

        A burst may put far more than the bound before a healthy client: it is slow when it does not take
        as much as the bound within `slow_consumer_seconds`.
        """
        bound = self._limits.max_queue_bytes
        if self.waiting_bytes <= bound:
            self._mark_time = None
            return False
        if self.waiting_bytes > BURST * bound:
            return True
        if self._mark_time is None or self._taken_bytes - self._mark_bytes >= bound:
            self._mark_time, self._mark_bytes = now, self._taken_bytes
        return now - self._mark_time >= self._limits.slow_consumer_seconds

    @property
    def _taken_bytes(self) -> int:
        return self.written_bytes - self._transport.get_write_buffer_size()

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
        asyncio.get_running_loop().call_later(PARTING_SECONDS, self._transport.abort)

    def abort(self) -> None:
        self._transport.abort()

    def fail(self, error: Exception) -> None:
        """Cut a client off for whom writing fails: it comes back, and the others are written to."""
        _part.note(error, self.connection_id)
        with _part.survives(self.connection_id):
            self.discard()
            self.abort()


class Pump:
    """Writes for all sockets of a node: once a turn of the loop, and by a slow clock for those behind."""

    def __init__(self) -> None:
        self._awake: list[Socket] = []  # got something in this turn
        self._behind: set[Socket] = set()  # have more than their transport takes
        self._ticking = False
        self._context = shared_context()  # nobody's ids, whoever wakes it

    def __repr__(self) -> str:
        return f"<Pump {len(self._behind)} sockets behind>"

    def wake(self, socket: Socket) -> None:
        """Take care of a socket that has something to write."""
        socket.is_pumped = True
        if not self._awake:
            asyncio.get_running_loop().call_soon(self._turn, context=self._context)
        self._awake.append(socket)

    def forget(self, socket: Socket) -> None:
        """Drop what a closed socket still has."""
        socket.discard()
        self._behind.discard(socket)
        metrics.bytes_sent.inc(socket.count())

    def _turn(self) -> None:
        awake, self._awake = self._awake, []
        for socket in awake:
            try:
                if socket.write():
                    socket.is_pumped = False
                else:
                    self._behind.add(socket)
            except Exception as error:
                socket.fail(error)
        self._tick_if_needed()

    def _tick_if_needed(self) -> None:
        if self._behind and not self._ticking:
            self._ticking = True
            asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._ticking = False
        now = time.monotonic()
        for socket in list(self._behind):
            try:
                self._look_at(socket, now)
            except Exception as error:
                self._behind.discard(socket)
                socket.fail(error)
        self._tick_if_needed()

    def _look_at(self, socket: Socket, now: float) -> None:
        if socket.write():
            self._behind.discard(socket)
            socket.is_pumped = False
        elif socket.is_too_slow(now):
            self._behind.discard(socket)
            metrics.slow_consumers.inc()
            socket.on_slow()
