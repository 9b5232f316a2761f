"""Decides whether to log a failure that repeats: each cause is logged once, and not with every retry.

Every loop that survives failures asks an Outage before it logs. Pure: time is an argument.
"""

from __future__ import annotations

QUIET_SECONDS = 60.0  # a cause that was not seen for so long is news again
MOST_CAUSES = 16  # within QUIET_SECONDS; further causes are not logged, however often the text changes


class Outage:
    """The causes that were seen in the last QUIET_SECONDS, and logged."""

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}  # when each cause was last seen, by a clock that never goes back

    def __repr__(self) -> str:
        return f"<Outage {len(self._seen)} causes>"

    def is_news(self, cause: str, now: float) -> bool:
        """Return whether to log this cause, which was seen just now."""
        self._seen = {one: at for one, at in self._seen.items() if now - at < QUIET_SECONDS}
        is_new = cause not in self._seen and len(self._seen) < MOST_CAUSES
        if is_new or cause in self._seen:
            self._seen[cause] = now
        return is_new

    def end(self) -> None:
        """End the outage: the next cause is news. Only for actions that are rare: otherwise logs fill up."""
        self._seen.clear()
