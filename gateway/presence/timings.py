"""How long the parts of presence wait, and the bounds of what waits.

The composition root hands this record out.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PresenceTimings:
    """All timings of the room of presence, in seconds, and the bounds that belong to them."""

    # Writes that Redis did not acknowledge
    retry_seconds: float = 1.0
    retries_a_second: float = 2_000  # of all pending writes
    # Writes about clients that are gone: some 2 KB each. Other writes are bounded by the number of clients.
    most_pending: int = 10_000
    patience_seconds: float = 2.0  # without an acknowledgement; more than `most_pending` may leave at once

    # Topics that became empty
    emptied_seconds: int = 10  # for which Redis remembers such a topic: clients choose names as they like
    # A fail-over of one server of a cluster may bring back the entry that left a topic last, but not the note
    # of the topic, which is on another server: so the note is kept for a while.
    linger_seconds: float = 60.0
    most_lingering: int = 20_000  # topics; beyond it topics that became empty first are forgotten at once

    # Quiet topics
    keep_seconds: float = 3_600.0  # after which one is refreshed; Redis drops it after RUBBISH_SECONDS

    # Heartbeats
    beat_seconds: float = 0.5  # between two beats of a node
    silent_seconds: float = 2.0  # without a beat, after which a node is not known to be alive
    slow_seconds: float = 1.0  # for Redis to answer, after which the beats of all nodes may be late
    return_seconds: float = 1.0  # after Redis is available again, in which all living nodes have beaten again
    look_seconds: float = 0.2  # between two looks at all nodes; calls in between share one look


DEFAULTS = PresenceTimings()
