"""How long a session waits between two warnings to its client."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SessionTimings:
    """Seconds."""

    warning_seconds: float = 1.0  # between two `rate_limited` errors to a client


DEFAULTS = SessionTimings()
