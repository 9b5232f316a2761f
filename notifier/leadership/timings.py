"""How long the parts of the leadership wait. The composition root hands this record out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LeadershipTimings:
    """All timings of the leadership's room that tests change, in seconds."""

    look_seconds: float = 0.25  # between two calls of Redis by the election
    lease_seconds: float = 3.0  # after which a lease expires if its holder does not renew it
    silent_seconds: float = 15.0  # without a renewed lease, after which a leader's session may be ended
    same_holder_seconds: float = 5.0  # a leader of less time may not have written its lease yet
    # Without a known leader, or without an answer of Redis, after which a notifier is not ready.
    doubt_seconds: float = 10.0


DEFAULTS = LeadershipTimings()
