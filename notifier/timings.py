"""How long the parts of a notifier wait, as one record that the composition root hands out.

Each room with timings of its own has a record of them; this one holds all of these records. Tests hand in
shorter ones: `Timings(last_batch_seconds=0.2)`.
"""

from __future__ import annotations

from dataclasses import dataclass

from notifier.feed.timings import DEFAULTS as FEED_DEFAULTS
from notifier.feed.timings import FeedTimings
from notifier.leadership.timings import DEFAULTS as LEADERSHIP_DEFAULTS
from notifier.leadership.timings import LeadershipTimings


@dataclass(frozen=True, slots=True)
class Timings:
    """All timings of a notifier, in seconds."""

    last_batch_seconds: float = 5.0  # for a feed to end; the next leader resumes a batch cut off
    mend_seconds: float = 5.0  # between two searches for partitions without triggers
    feed: FeedTimings = FEED_DEFAULTS
    leadership: LeadershipTimings = LEADERSHIP_DEFAULTS


DEFAULTS = Timings()
