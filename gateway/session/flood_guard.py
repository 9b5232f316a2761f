"""How much a client may say, as rules; time comes in as an argument."""

from __future__ import annotations

from enum import Enum, auto

BURST_SECONDS = 2.0  # worth of messages that may come at once
WARNING_SECONDS = 1.0  # between two errors that say so
LAST_WARNING = 10  # in a row; then the connection ends
FRAGMENTS_AS_ONE = 4  # small fragments that count as one frame
FEWEST_FRAMES = 10.0  # a second beside the messages that a connection may send, however few messages it may
PACE = 10  # times its rate of messages that a connection is read at most
SLOWEST_PACE = 1_000.0  # frames a second, however low the rate of messages is
LARGEST_AS_FRAMES = 5  # frames that the bytes of a largest message count as, so that twice its rate is read
PACE_STEP = 32  # frames that may be read when reading goes on


class Bucket:
    """A token bucket: `rate` a second, with a burst of `burst`."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def is_for(self, rate: float, burst: float) -> bool:
        """Whether it was made for this rate; a reload may have changed it."""
        return (self._rate, self._burst) == (rate, burst)

    def is_full(self, now: float) -> bool:
        """Whether nothing would be missed if it were made anew."""
        return self._tokens + (now - self._at) * self._rate >= self._burst

    def seconds_to_next(self) -> float:
        """For how long nothing can be taken, as of the last try."""
        return max(0.0, 1 - self._tokens) / self._rate

    def take(self, now: float, count: float = 1) -> bool:
        """Take so many, if they are there."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._tokens < count:
            return False
        self._tokens -= count
        return True


class Pace:
    """How fast a connection is read at most, whatever becomes of it; the rest waits in the network.

    A client within its rate is never slowed down: messages over the rate are dropped, as promised, up to ten
    times the rate. What comes faster still costs this node nothing.
    """

    def __init__(self, messages_per_second: float, max_message_bytes: int, now: float) -> None:
        self._rate = max(SLOWEST_PACE, PACE * messages_per_second)
        self._burst = BURST_SECONDS * self._rate
        self._frames_a_byte = LARGEST_AS_FRAMES / max_message_bytes
        self._room = self._burst  # in frames; below 0 after a portion that was larger than it
        self._at = now

    def seconds_to_wait(self, now: float) -> float:
        """How long nothing may be read from now on; 0 if something may."""
        self._room = min(self._burst, self._room + max(0.0, now - self._at) * self._rate)
        self._at = now
        return 0.0 if self._room > 0 else (PACE_STEP - self._room) / self._rate

    def spend(self, frames: int, size: int) -> None:
        """Count what was read."""
        self._room -= frames + size * self._frames_a_byte


class Verdict(Enum):
    """What to do with a message."""

    PASS = auto()
    DROP = auto()  # in silence: the client has just been told
    WARN = auto()  # drop it and say so
    CLOSE = auto()


class FloodGuard:
    """Counts one connection's messages, its other frames, and its warnings in a row.

    Other frames have a bucket of their own, so that whoever sends as many messages as it may can still answer
    pings.
    """

    def __init__(self, messages_per_second: float, now: float) -> None:
        self._messages = Bucket(messages_per_second, max(1.0, BURST_SECONDS * messages_per_second), now)
        frames_per_second = max(FEWEST_FRAMES, messages_per_second)
        self._frames = Bucket(frames_per_second, BURST_SECONDS * frames_per_second, now)
        self._warned_at = -WARNING_SECONDS
        self._dropped_at = -WARNING_SECONDS
        self._warnings = 0  # without a quiet second between them

    def judge(self, now: float) -> Verdict:
        """Say what to do with a message."""
        return Verdict.PASS if self._messages.take(now) else self._over(now)

    def judge_frames(self, count: float, now: float) -> Verdict:
        """Say what to do about frames that are no messages and count as so many."""
        return Verdict.PASS if self._frames.take(now, count) else self._over(now)

    def _over(self, now: float) -> Verdict:
        if now - self._dropped_at > 2 * WARNING_SECONDS:
            self._warnings = 0
        self._dropped_at = now
        if now - self._warned_at < WARNING_SECONDS:
            return Verdict.DROP
        self._warned_at = now
        self._warnings += 1
        return Verdict.CLOSE if self._warnings > LAST_WARNING else Verdict.WARN
