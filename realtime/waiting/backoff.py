"""How long to wait between two tries: shortly at first, then twice as long each time, up to a maximum.

Every loop that retries asks a Backoff before it waits. Pure.
"""

from __future__ import annotations


class Backoff:
    """The waits of one loop that retries, in seconds."""

    def __init__(self, first: float, last: float) -> None:
        self._first = first
        self._last = last
        self._next = first

    def __repr__(self) -> str:
        return f"<Backoff {self._next:g} of {self._last:g} s>"

    def next(self) -> float:
        """Return how long to wait now; the next wait is twice as long, at most `last`."""
        delay = self._next
        self._next = min(2 * delay, self._last)
        return delay

    def reset(self) -> None:
        """Start again with the first wait, after a try that succeeded."""
        self._next = self._first
