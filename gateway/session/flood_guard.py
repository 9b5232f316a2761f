"""Limits the messages and other frames that a client may send. Time comes in as an argument."""

from __future__ import annotations

from enum import Enum, auto

from gateway.projects.token_bucket import BURST_SECONDS, Bucket
from gateway.session.timings import DEFAULTS, SessionTimings

LAST_WARNING = 10  # in a row; one more closes the connection
FRAGMENTS_AS_ONE = 4  # small fragments that count as one frame
FEWEST_FRAMES = 10.0  # other frames a second that a connection may send, however low its message rate is


class Verdict(Enum):
    """What to do with a message."""

    PASS = auto()
    DROP = auto()  # without an error: the client has just been warned
    WARN = auto()  # drop the message and send an error
    CLOSE = auto()


class FloodGuard:
    """Counts one connection's messages, its other frames, and its warnings in a row.

    Other frames have a bucket of their own, so that a client that sends as many messages as it may can still
    answer pings.
    """

    __slots__ = ("_dropped_at", "_frames", "_messages", "_warned_at", "_warning_seconds", "_warnings")

    def __init__(self, messages_per_second: float, now: float, timings: SessionTimings = DEFAULTS) -> None:
        self._messages = Bucket(messages_per_second, max(1.0, BURST_SECONDS * messages_per_second), now)
        frames_per_second = max(FEWEST_FRAMES, messages_per_second)
        self._frames = Bucket(frames_per_second, BURST_SECONDS * frames_per_second, now)
        self._warning_seconds = timings.warning_seconds
        self._warned_at = -self._warning_seconds
        self._dropped_at = -self._warning_seconds
        # Warnings in a row: without a pause of twice `warning_seconds` in which nothing was dropped.
        self._warnings = 0

    def judge(self, now: float) -> Verdict:
        """Say what to do with a message."""
        return Verdict.PASS if self._messages.take(now) else self._over(now)

    def judge_frames(self, count: float, now: float) -> Verdict:
        """Say what to do about frames that are no messages; together they count as `count` frames."""
        return Verdict.PASS if self._frames.take(now, count) else self._over(now)

    def _over(self, now: float) -> Verdict:
        if now - self._dropped_at > 2 * self._warning_seconds:
            self._warnings = 0
        self._dropped_at = now
        if now - self._warned_at < self._warning_seconds:
            return Verdict.DROP
        self._warned_at = now
        self._warnings += 1
        return Verdict.CLOSE if self._warnings > LAST_WARNING else Verdict.WARN
