"""A token bucket, which limits the rates of this service. Time comes in as an argument."""

from __future__ import annotations

BURST_SECONDS = 2.0  # worth of messages or requests that may come at once


class Bucket:
    """A token bucket: `rate` a second, with a burst of `burst`."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def is_for(self, rate: float, burst: float) -> bool:
        """Whether the bucket was made for this rate; a reload may have changed the rate."""
        return (self._rate, self._burst) == (rate, burst)

    def is_full(self, now: float) -> bool:
        """Whether the bucket is full, so that a new bucket would do the same."""
        return self._tokens + (now - self._at) * self._rate >= self._burst

    def seconds_to_next(self) -> float:
        """Return the seconds until a token can be taken, as of the last `take`."""
        return max(0.0, 1 - self._tokens) / self._rate

    def take(self, now: float, count: float = 1) -> bool:
        """Take so many tokens, if they are there; return whether they were."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._tokens < count:
            return False
        self._tokens -= count
        return True
