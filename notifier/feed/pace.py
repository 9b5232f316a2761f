"""When writers ring the doorbell, and how long the feed waits between two looks while they do not.

A ring wakes the feed at once, but transactions that ring commit one after the other: NOTIFY takes one lock
until the commit is on disk. So writers ring while few transactions commit. Under load the feed looks by
itself. The pause between two looks grows with what a look takes, and with how many changes come meanwhile:
it is short while a look is in nobody's way, and long when writers need all of the machine. Pure: time comes
in as an argument.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median

# The last looks, whose medians make the pause: a bulk load, or a look that the disk held up, does not count.
LOOKS = 9


@dataclass(frozen=True, slots=True)
class PaceBounds:
    """When the pace changes. All times are seconds, all rates are per second."""

    # The bell is silenced when transactions ring at such a rate, or when storing a batch for each of them
    # would take such a share of the time: on a slow disk the lock of NOTIFY allows few commits a second.
    most_rings: float = 400.0
    most_share: float = 0.8
    few_rings: int = 4  # in a window; fewer are no load, however slow the disk is
    # The bell is given back when fewer changes were found in a window: a change may be a transaction.
    few_changes: float = 200.0
    small_share: float = 0.4
    window: float = 0.1
    # Changes that come while the feed looks. So many make the pause twice as long as the look, and more make
    # it longer by their square. The size of a batch would not do: it grows with the pause itself.
    many_changes: float = 30.0
    least_pause: float = 0.002
    longest_pause: float = 0.04


DEFAULT_PACE = PaceBounds()


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the outbox found and cost."""

    rings: int  # since the look before
    changes: int
    seconds: float  # the whole look, until its changes were published
    storing: float  # the part of it in which the database stored the batch


class Pace:
    """The pace of one feed. It begins silent: a feed that was just loaded may have much to catch up with."""

    def __init__(self, bounds: PaceBounds = DEFAULT_PACE) -> None:
        self._bounds = bounds
        self.is_silent = True  # no writer needs to ring
        self._began: float | None = None  # the present window; None: at the next look
        self._commits = 0  # in the present window; while silent, changes stand for them
        self._look_seconds: deque[float] = deque([0.0], LOOKS)
        self._meanwhile: deque[float] = deque([0.0], LOOKS)  # changes that came while the feed looked
        self._noted_at: float | None = None  # when the last look ended
        self._storing = 0.0  # smoothed

    def __repr__(self) -> str:
        return f"<Pace {'silent' if self.is_silent else 'rung'}, pause {self.pause * 1000:.1f} ms>"

    @property
    def pause(self) -> float:
        """How long to wait before the next look while silent."""
        bounds = self._bounds
        meanwhile = median(self._meanwhile) / bounds.many_changes
        rest = median(self._look_seconds) * (1 + meanwhile**2)
        return min(max(rest, bounds.least_pause), bounds.longest_pause)

    def note(self, now: float, look: Look) -> None:
        """Take in a look that has just ended."""
        if self._began is None:
            self._began = now - look.seconds
        self._commits += look.changes if self.is_silent else look.rings
        self._look_seconds.append(look.seconds)
        self._meanwhile.append(self._share(now, look) * look.changes)
        self._noted_at = now
        if look.changes:
            self._storing = _smoothed(self._storing, look.storing)
        elapsed = now - self._began
        if self.is_silent:
            if elapsed >= self._bounds.window:
                self._turn(now, not self._is_quiet(elapsed))
        elif self._is_loaded(max(elapsed, self._bounds.window)):
            self._turn(now, True)
        elif elapsed >= self._bounds.window:
            self._turn(now, False)

    def _share(self, now: float, look: Look) -> float:
        """Return the share of the time since the look before that this look took."""
        since = look.seconds if self._noted_at is None else now - self._noted_at
        return min(1.0, look.seconds / since) if since > 0 else 1.0

    def _is_loaded(self, seconds: float) -> bool:
        """Tell whether there were many commits for so long a time, which is a window at least."""
        bounds = self._bounds
        is_slow = self._commits * self._storing >= bounds.most_share * seconds
        has_many = self._commits >= bounds.most_rings * seconds
        return has_many or (is_slow and self._commits >= bounds.few_rings)

    def _is_quiet(self, elapsed: float) -> bool:
        bounds = self._bounds
        is_fast = self._commits * self._storing <= bounds.small_share * elapsed
        return is_fast and self._commits <= bounds.few_changes * elapsed

    def _turn(self, now: float, is_silent: bool) -> None:
        """Begin a new window."""
        self.is_silent, self._began, self._commits = is_silent, now, 0


def _smoothed(before: float, now: float) -> float:
    return 0.7 * before + 0.3 * now if before else now
