"""What this notifier knows of one project's leadership: who leads, and what this notifier should do.

The election reports what it sees in Redis, the feed reports what it does; both ask here what to do. Time is
an argument, in seconds of a clock that never goes back. Knows no Redis and no database.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from notifier.leadership.timings import DEFAULTS, LeadershipTimings

BLIND_SECONDS = 3.0  # without an answer of Redis, after which a leader's silence does not count
GRACE_SECONDS = 1.5  # for the preferred notifier, before the others try to lead
STABLE_SECONDS = 5.0  # for which the fleet has not changed, and a leader has led, before it hands over
DATABASE_SECONDS = 6.0  # without an answer of the database, after which a leader's lease is no longer renewed
FAILURE_SECONDS = 30.0  # after a failure, in which another notifier should lead
BLIND_PATIENCE_SECONDS = 5.0  # for which a notifier without Redis leaves a free lead to those with Redis

NEVER = float("-inf")


class HandOver(Exception):
    """Another notifier should lead this project. This is no fault: the feed stops between two batches."""

    def __init__(self, to: str) -> None:
        super().__init__(to)
        self.to = to

    def __str__(self) -> str:
        return f"handing over to {self.to}"


@dataclass
class Candidacy:
    """One project's candidacy. Without an election its feed leads as soon as it can, and never hands over."""

    me: str = ""  # this notifier's id
    elected: bool = False  # whether an election updates this candidacy
    timings: LeadershipTimings = DEFAULTS
    # Reported by the feed
    state: str = ""  # of the feed, in the words of `/readyz`
    changes: int = 0  # published since this process started
    leads_since: float | None = None  # since when the feed leads, or waits for the schema; None: neither
    awaits_schema: bool = False  # the feed waits for the schema
    heard_at: float = NEVER  # when the database last answered any session of this notifier
    proven: bool = False  # the database was reached since the last fault
    failed_at: float = NEVER
    rival: int | None = None  # the backend that led when this notifier last tried to
    wake: Callable[[], object] = field(default=lambda: None)  # ends the feed's sleep, so that it checks
    # Reported by the election
    looked_at: float = NEVER  # when Redis last answered
    trouble: str = "no answer yet"  # why Redis does not answer
    known_at: float = NEVER  # when another notifier was last known to lead
    holder: str | None = None  # of the lease; "" for a lease without a name
    held_until: float = NEVER  # when the lease expires, unless Redis says otherwise
    vacant_since: float | None = None  # since when no lease is known; None: there is one, or not seen yet
    silent_since: float | None = None  # when the leader last renewed its lease, if Redis answered ever since
    preferred: str | None = None  # the notifier that should lead
    stable: bool = False  # the fleet has not changed for STABLE_SECONDS

    def see_lease(self, now: float, holder: str | None) -> None:
        """Take an answer of Redis: who holds the lease, None for nobody."""
        if now - self.looked_at > BLIND_SECONDS:
            self.silent_since = None
        if holder is not None:
            self.held_until = now + self.timings.lease_seconds
            self.vacant_since = self.silent_since = None
        elif self.silent_since is None:
            # A lease that has just expired was last renewed `lease_seconds` ago.
            self.silent_since = now if self.holder is None else now - self.timings.lease_seconds
        if holder is None and self.vacant_since is None:
            self.vacant_since = now
        if holder is not None and holder != self.me:
            self.known_at = now
        self.looked_at, self.holder = now, holder

    def see_nothing(self, now: float, trouble: str = "") -> None:
        """Note that Redis does not answer: a lease that was seen counts until it would have expired."""
        self.silent_since, self.trouble = None, trouble
        if self.vacant_since is None and now >= self.held_until:
            self.holder, self.vacant_since = None, now

    def stands_by(self, now: float) -> bool:
        """Tell whether another notifier is known to lead, or nothing is known yet."""
        if not self.elected or self.holder == self.me:
            return False
        return self.vacant_since is None and (self.holder is None or now < self.held_until)

    def may_try(self, now: float) -> bool:
        """Tell whether to try to lead: the preferred notifier at once, the others after GRACE_SECONDS."""
        if self.stands_by(now):
            return False
        if not self.elected or self.preferred in (None, self.me):
            return True
        return self.vacant_since is not None and now - self.vacant_since >= GRACE_SECONDS

    def may_take(self, now: float, free_since: float) -> bool:
        """Tell whether to take a lead, free since `free_since`: a notifier without Redis comes last."""
        is_blind = self.elected and now - self.looked_at > BLIND_SECONDS
        return not is_blind or now - free_since >= BLIND_PATIENCE_SECONDS

    def may_end_leader(self, now: float) -> bool:
        """Tell whether the leader is lost: it had no lease for long, while Redis answered all the time."""
        if self.silent_since is None or now - self.looked_at > BLIND_SECONDS:
            return False
        patience = 0.0 if self.preferred in (None, self.me) else GRACE_SECONDS
        return now - self.silent_since >= self.timings.silent_seconds + patience

    def doubt(self, now: float, leads: bool) -> str | None:
        """Return why this notifier is not ready: it could not lead, or knows of no leader; None if ready.

        It has `doubt_seconds` to find out: a short outage of Redis or a takeover makes no notifier unready.
        """
        if not self.elected:
            return None
        if now - self.looked_at > self.timings.doubt_seconds:
            return f"could not lead, since Redis does not do what it must: {self.trouble}"
        if leads or now - self.known_at <= self.timings.doubt_seconds:
            return None
        rival = "" if self.rival is None else f"; backend {self.rival} of the database leads, and is silent"
        return f"nobody is known to lead{rival}"

    def is_able(self, now: float) -> bool:
        """Tell whether this notifier can lead the project, as far as it knows."""
        return self.leads_since is not None or (self.proven and now - self.failed_at >= FAILURE_SECONDS)

    def lead(self, now: float) -> None:
        self.leads_since, self.heard_at, self.proven, self.awaits_schema = now, now, True, False

    def await_schema(self, now: float) -> None:
        """Note that the database answered: there is no schema to lead yet."""
        if self.leads_since is None:
            self.leads_since, self.awaits_schema = now, True
        self.hear(now)

    def hear(self, now: float) -> None:
        """Note that the database answered, to any query."""
        self.heard_at = now

    def deserves_lease(self, now: float) -> bool:
        """Tell whether to keep the lease: a leader whose database is silent must not keep others out."""
        return self.leads_since is not None and now - self.heard_at < DATABASE_SECONDS

    def resign(self, *_: object) -> None:
        """Note that the lead was given up, or that its session is lost."""
        self.leads_since, self.awaits_schema = None, False

    def fail(self, now: float) -> None:
        self.proven, self.failed_at = False, now

    def must_hand_over(self, now: float) -> bool:
        """Tell whether another notifier should lead this project, in a fleet that is stable."""
        return (
            self.leads_since is not None
            and now - self.leads_since >= STABLE_SECONDS
            and now - self.looked_at <= BLIND_SECONDS
            and self.stable
            and self.preferred not in (None, self.me)
        )

    def check(self, now: float) -> None:
        """Raise HandOver if another notifier should lead. Call this only between two batches."""
        if self.must_hand_over(now):
            raise HandOver(self.preferred or "")
