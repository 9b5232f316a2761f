"""How much a client may say, as rules; time comes in as an argument."""

from __future__ import annotations

from enum import Enum, auto

BURST_SECONDS = 2.0  # worth of messages that may come at once
WARNING_SECONDS = 1.0  # between two errors that say so
LAST_WARNING = 10  # in a row; then the connection ends


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

    def take(self, now: float) -> bool:
        """Take one, if there is one."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Verdict(Enum):
    """What to do with a message."""

    PASS = auto()
    DROP = auto()  # in silence: the client has just been told
    WARN = auto()  # drop it and say so
    CLOSE = auto()


class FloodGuard:
    """Counts one connection's messages, and its warnings in a row."""

    def __init__(self, messages_per_second: float, now: float) -> None:
        self._bucket = Bucket(messages_per_second, max(1.0, BURST_SECONDS * messages_per_second), now)
        self._warned_at = -WARNING_SECONDS
        self._dropped_at = -WARNING_SECONDS
        self._warnings = 0  # without a quiet second between them

    def judge(self, now: float) -> Verdict:
        if self._bucket.take(now):
            return Verdict.PASS
        if now - self._dropped_at > 2 * WARNING_SECONDS:
            self._warnings = 0
        self._dropped_at = now
        if now - self._warned_at < WARNING_SECONDS:
            return Verdict.DROP
        self._warned_at = now
        self._warnings += 1
        return Verdict.CLOSE if self._warnings > LAST_WARNING else Verdict.WARN
