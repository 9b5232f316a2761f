"""What happened to a project's clients on this node since it started. Pure.

Open connections count for themselves, and their figures are added here when they end: so a delivery counts
nothing for a project, and a tally is summed up only when somebody asks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

LATE_SECONDS = 300.0  # for which a slow consumer is worth a warning
MOST_LATE = 10_000  # of which it is remembered when they were closed


@dataclass(slots=True)
class Tally:
    """Counters of the connections that have ended, and of events that belong to no connection."""

    messages_in: int = 0
    messages_out: int = 0
    bytes_out: int = 0
    errors: int = 0
    slow_consumers: int = 0
    _slow_at: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_LATE))  # monotonic

    def note_slow(self, now: float) -> None:
        """Count a client that was closed because it read too slowly."""
        self.slow_consumers += 1
        self._slow_at.append(now)

    def slow_of_late(self, now: float) -> int:
        """Return how many clients were closed for that in the last LATE_SECONDS."""
        while self._slow_at and now - self._slow_at[0] > LATE_SECONDS:
            self._slow_at.popleft()
        return len(self._slow_at)
