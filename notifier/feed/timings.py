"""How long the parts of a feed wait. The composition root hands this record out."""

from __future__ import annotations

from dataclasses import dataclass

from notifier.feed.pace import DEFAULT_PACE, PaceBounds


@dataclass(frozen=True, slots=True)
class FeedTimings:
    """All timings of the feed's room, in seconds."""

    silence_seconds: int = 5  # writers ring again if the notifier does not renew the silence for so long
    renew_seconds: float = 2.0  # between two renewals of the silence
    first_retry_seconds: float = 0.1  # of what Redis did not take
    last_retry_seconds: float = 5.0
    check_seconds: float = 2.0  # between two checks of the checkpoints of all topics
    snapshot_seconds: float = 5.0  # an answer takes a millisecond: a database silent for so long is lost
    long_look_seconds: float = 0.1  # after so long within a look, no writer needs to ring
    shed_seconds: float = 1.0  # between two checks of the outbox against its bound
    pace: PaceBounds = DEFAULT_PACE


DEFAULTS = FeedTimings()
