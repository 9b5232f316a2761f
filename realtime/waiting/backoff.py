"""How long to wait between two tries: a moment at first, twice as long each time, and never longer than that.

Asked by whoever tries again, before it waits. Pure.
"""

from __future__ import annotations


class Backoff:
    """The waits of one who tries again and again, in seconds."""

    def __init__(self, first: float, last: float) -> None:
        self._first = first
        self._last = last
        self._next = first

    def __repr__(self) -> str:
        return f"<Backoff {self._next:g} of {self._last:g} s>"

    def next(self) -> float:
        """Return how long to wait now; the next wait is twice as long, up to the last."""
        delay = self._next
        self._next = min(2 * delay, self._last)
        return delay

    def reset(self) -> None:
        """A try went well: the next wait is the first again."""
        self._next = self._first
