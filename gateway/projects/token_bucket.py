"""A token bucket, by which every rate of this service is kept. Time comes in as an argument."""

from __future__ import annotations

BURST_SECONDS = 2.0  # worth of messages or requests that may come at once


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
