"""What of a failure that repeats is news: each cause is told once, and not with every retry.

Asked by whoever waits a failure out, before it is logged. Pure: time is an argument.
"""

from __future__ import annotations

QUIET_SECONDS = 60.0  # after which a cause that was not seen meanwhile is news again
MOST_CAUSES = 16  # within that time; beyond them nothing is told, however often the text changes


class Outage:
    """The causes that were seen of late, and told."""

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}  # when each was seen last, by a clock that never goes back

    def __repr__(self) -> str:
        return f"<Outage {len(self._seen)} causes>"

    def is_news(self, cause: str, now: float) -> bool:
        """Tell whether to log this cause, which was just seen."""
        self._seen = {one: at for one, at in self._seen.items() if now - at < QUIET_SECONDS}
        is_new = cause not in self._seen and len(self._seen) < MOST_CAUSES
        if is_new or cause in self._seen:
            self._seen[cause] = now
        return is_new

    def end(self) -> None:
        """It is over, and whatever comes next is news. Only for what is done seldom: else logs fill up."""
        self._seen.clear()
