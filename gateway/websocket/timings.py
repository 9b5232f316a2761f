"""How often a node looks at its WebSockets, and how fast it closes those of a removed project."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WebSocketTimings:
    """Seconds."""

    measure_seconds: float = 5.0  # between two measurements; more often than Prometheus usually scrapes
    close_batch_seconds: float = 0.02  # between two batches of closes


DEFAULTS = WebSocketTimings()
