"""The intake in front of aiohttp's WebSocket reader: every byte of a client passes it, a slice at a time.

Bytes come from the transport, and go to the reader after the frame walk has read their headers. aiohttp's
reader takes whatever comes and does not queue fragments, so that the reader alone never stops reading. The
intake stays shut until the client is admitted, lets in as much as is taken, and no faster than the pace.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from gateway import metrics
from gateway.websocket.frame_rules import FrameWalk
from gateway.websocket.pace import Pace
from gateway.websocket.turns import Turns

SLICE_BYTES = 65_536  # of one client that are let in before other clients get their turn
EARLY_BYTES = 65_536  # that may come before the upgrade is answered, though a client ought to wait
REFUSED = b"\xff\x80"  # a whole header with reserved bits: fed for a violation, so that aiohttp sends 1002


class Reader(Protocol):
    """aiohttp's reader, or a substitute for it."""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]: ...

    def feed_eof(self) -> None: ...


class IntakeState(Enum):
    """The states of an intake, in this order."""

    SHUT = auto()  # nothing is let in, and nothing is read from the network
    OPEN = auto()
    CLOSING = auto()  # nothing but a close frame is taken any more
    DEAD = auto()  # the reader refused a frame, or the connection is gone; nothing is read any more


class FrameIntake:
    """Lets a client's bytes in. The transport's protocol uses it as its reader."""

    __slots__ = (
        "_at",
        "_is_paused",
        "_next",
        "_on_frames",
        "_pace",
        "_reader",
        "_state",
        "_transport",
        "_turns",
        "_untaken",
        "_untaken_bytes",
        "_waiting",
        "_waits",
        "_walk",
    )

    def __init__(
        self, reader: Reader, transport: asyncio.Transport, pace: Pace, early: bytes, turns: Turns
    ) -> None:
        self._reader = reader
        self._transport = transport
        self._pace = pace
        self._turns = turns
        self._walk = FrameWalk()
        self._state = IntakeState.SHUT
        self._waiting = early  # received bytes; all before `_at` have been let in
        self._at = 0
        self._untaken = 0  # messages and control frames that were let in and not taken yet
        self._untaken_bytes = 0  # let in since `_untaken` was 0
        self._is_paused = True  # nothing is read from the network
        self._waits = False  # counted in `Turns.waiting`: the client sent more than was let in
        self._next: asyncio.Handle | None = None  # lets in the next slice, if that is scheduled
        self._on_frames: Callable[[int, int], None] = _ignore
        if len(early) > EARLY_BYTES:
            self._waiting = REFUSED
        transport.pause_reading()

    def __repr__(self) -> str:
        waiting = len(self._waiting) - self._at
        return f"<FrameIntake {self._state.name}, {waiting} bytes wait, {self._untaken} untaken>"

    @property
    def waiting_bytes(self) -> int:
        """Bytes that came and were not taken yet, including those of a message that has not ended."""
        untaken = self._untaken_bytes if self._untaken else 0
        return len(self._waiting) - self._at + max(untaken, self._walk.message_bytes)

    @property
    def is_dead(self) -> bool:
        """Whether nothing is let in any more."""
        return self._state is IntakeState.DEAD

    @property
    def has_frames(self) -> bool:
        """Whether there is something to take: a frame, or the end."""
        return self._untaken > 0 or self.is_dead

    @property
    def is_at_rest(self) -> bool:
        """Whether all that was let in was taken, and no message has begun: a new reader would do as well."""
        return self._state is IntakeState.OPEN and not self._untaken and self._walk.is_between_messages

    def open(self, on_frames: Callable[[int, int], None]) -> None:
        """Begin to let bytes in; `on_frames` gets the counts of control frames and of small fragments."""
        if self._state is IntakeState.SHUT:
            self._state, self._on_frames = IntakeState.OPEN, on_frames
            self._let_in()

    def close(self) -> None:
        """Let bytes in although nobody takes messages any more, to find the client's close frame.

        A client that was never admitted is read at the pace of a stranger.
        """
        if self._state is IntakeState.SHUT:
            self._pace = Pace.of_stranger(time.monotonic())
        if self._state in (IntakeState.SHUT, IntakeState.OPEN):
            self._state, self._on_frames = IntakeState.CLOSING, _ignore
            if self._next is None:
                self._let_in()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take bytes from the network; return whether reading has ended, as aiohttp's reader does."""
        if self.is_dead:
            return True, b""
        if self._at < len(self._waiting):
            data = self._waiting[self._at :] + data
        self._waiting, self._at = data, 0
        if self._next is None:
            self._let_in()
        else:
            self._pause()
        return self.is_dead, b""

    def feed_eof(self) -> None:
        """End reading and drop what waits: the connection is gone."""
        self._end()
        self._reader.feed_eof()

    def taken(self) -> None:
        """Note that the connection took a message or a control frame."""
        self._untaken = max(0, self._untaken - 1)
        if self._is_paused and self._state is IntakeState.OPEN:
            self._pause()
            if not self._untaken and self._next is None:
                self._next = asyncio.get_running_loop().call_soon(self._let_in)

    def _let_in(self) -> None:
        self._next = None
        self._let_in_and_go_on()
        self._look_whether_it_waits()

    def _look_whether_it_waits(self) -> None:
        """Update `Turns.waiting`; a client that sent only half a header is not counted."""
        waits = self._is_paused and self._at < len(self._waiting) and self._state is not IntakeState.SHUT
        if waits is not self._waits:
            self._waits = waits
            self._turns.waiting += 1 if waits else -1

    def _let_in_and_go_on(self) -> None:
        """Let in a slice, then schedule the next one or resume reading."""
        if self._state is IntakeState.SHUT or not self._has_room:
            self._pause()
            return
        if seconds := self._pace.seconds_to_wait(time.monotonic()):
            metrics.reads_delayed.inc()
            self._pause()
            self._next = asyncio.get_running_loop().call_later(seconds, self._let_in)
            return
        has_moved = self._let_in_a_slice()
        if self.is_dead:
            return
        if has_moved and self._at < len(self._waiting):
            self._pause()
            if self._has_room:
                self._next = asyncio.get_running_loop().call_soon(self._let_in)
        elif self._is_paused:  # nothing is left, or only part of a header
            self._is_paused = False
            self._transport.resume_reading()

    @property
    def _has_room(self) -> bool:
        if not self._untaken or self._state is IntakeState.CLOSING:
            self._untaken = self._untaken_bytes = 0
        return self._untaken < self._turns.slice_frames and self._untaken_bytes < SLICE_BYTES

    def _let_in_a_slice(self) -> bool:
        """Let in a slice; return whether there was anything to let in."""
        start, data = self._at, self._waiting
        stop = min(len(data), start + SLICE_BYTES)
        self._at = end = self._walk.walk(data, start, stop, self._turns.slice_frames - self._untaken)
        if end == len(data):  # else the last bytes of a client would stay until its next ones
            self._waiting, self._at = b"", 0
        messages, controls, fragments, _ = self._walk.take_counts()
        self._pace.spend(messages + controls + fragments, end - start)
        self._untaken += messages + controls
        self._untaken_bytes += end - start
        is_end = False
        if end > start:
            is_end, _ = self._reader.feed_data(data if end - start == len(data) else data[start:end])
        if self._walk.violation and not is_end:
            is_end, _ = self._reader.feed_data(REFUSED)
        if is_end:
            self._end()
        elif controls or fragments:
            self._on_frames(controls, fragments)
        return end > start

    def _pause(self) -> None:
        self._is_paused = True
        self._transport.pause_reading()  # even if it is paused: aiohttp resumes it when a message is taken

    def _end(self) -> None:
        self._state, self._on_frames = IntakeState.DEAD, _ignore
        self._waiting, self._at = b"", 0
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._pause()
        self._look_whether_it_waits()


def _ignore(controls: int, fragments: int) -> None:
    pass
