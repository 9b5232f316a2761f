"""How long a node waits for others, and how much it answers at a time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FleetTimings:
    """Seconds, and the bounds that belong to them."""

    answer_seconds: float = 2.0  # for all nodes to answer
    stats_seconds: float = 1.25  # likewise, for figures that must not be older than 2 seconds
    recent_seconds: float = 0.5  # for which a node answers the same figures again
    at_once: int = 8  # questions that a node answers at a time
    most_waiting: int = 1_000  # further questions are ignored


DEFAULTS = FleetTimings()
