"""One project's place in the fleet, as this notifier knows it: who leads, and what we are to do about it.

The election tells what it sees in Redis, the feed what it does; both ask here. Time comes in as an
argument, in seconds of a clock that never goes back. Knows no Redis and no database.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

LEASE_SECONDS = 3.0  # that a lease lives when its holder does not renew it
BLIND_SECONDS = 3.0  # without a look at Redis, after which nobody's silence counts as such
GRACE_SECONDS = 1.5  # that the preferred notifier has before the others try
SILENT_SECONDS = 15.0  # without a sign of life, after which a leader may be ended
STABLE_SECONDS = 5.0  # that the fleet is the same, and a leader leads, before it hands over
DATABASE_SECONDS = 6.0  # without an answer of the database, after which a leader's lease is no longer renewed
FAULT_SECONDS = 30.0  # after a fault in which another should lead
BLIND_PATIENCE_SECONDS = 5.0  # in which one that does not see Redis leaves a free lead to those that do
DOUBT_SECONDS = 10.0  # without knowing of a leader, or of Redis, after which a notifier is not ready

NEVER = float("-inf")


class HandOver(Exception):
    """Another notifier is to lead this project. No fault: the feed just stops between two batches."""

    def __init__(self, to: str) -> None:
        super().__init__(to)
        self.to = to

    def __str__(self) -> str:
        return f"handing over to {self.to}"


@dataclass
class Candidacy:
    """Without an election its feed is alone: it leads as soon as it can, and goes on."""

    me: str = ""  # this notifier's id
    elected: bool = False  # whether an election looks after it
    # What the feed does
    state: str = ""  # in the words of `/readyz`
    leads_since: float | None = None  # it leads, or waits for the schema for all; None: it does not
    awaits_schema: bool = False  # it is the latter
    heard_at: float = NEVER  # when the database last answered anybody of us
    proven: bool = False  # the database was reached, since the last fault
    faulted_at: float = NEVER
    rival: int | None = None  # the backend that leads, when last tried to
    wake: Callable[[], object] = field(default=lambda: None)  # end the feed's sleep: it is to look around
    # What the election saw
    looked_at: float = NEVER  # when Redis last answered
    trouble: str = "no answer yet"  # why it does not
    known_at: float = NEVER  # when another was last known to lead
    holder: str | None = None  # of the lease; "" is one that does not tell its name
    held_until: float = NEVER  # when the lease runs out, if Redis does not say otherwise
    vacant_since: float | None = None  # no lease that we know of; None: there is one, or nobody looked yet
    silent_since: float | None = None  # the leader's last sign of life, by a Redis that answered ever since
    preferred: str | None = None  # who is to lead
    stable: bool = False  # the fleet has not changed for a while

    def see_lease(self, now: float, holder: str | None) -> None:
        """Redis answered: who holds the lease, None for nobody."""
        if now - self.looked_at > BLIND_SECONDS:
            self.silent_since = None
        if holder is not None:
            self.held_until, self.vacant_since, self.silent_since = now + LEASE_SECONDS, None, None
        elif self.silent_since is None:
            # A lease that ran out was renewed for the last time so long ago.
            self.silent_since = now if self.holder is None else now - LEASE_SECONDS
        if holder is None and self.vacant_since is None:
            self.vacant_since = now
        if holder is not None and holder != self.me:
            self.known_at = now
        self.looked_at, self.holder = now, holder

    def see_nothing(self, now: float, trouble: str = "") -> None:
        """Redis does not answer: a lease that was seen is good until it would have run out."""
        self.silent_since, self.trouble = None, trouble
        if self.vacant_since is None and now >= self.held_until:
            self.holder, self.vacant_since = None, now

    def stands_by(self, now: float) -> bool:
        """Whether somebody else is known to lead, or nothing is known yet."""
        if not self.elected or self.holder == self.me:
            return False
        return self.vacant_since is None and (self.holder is None or now < self.held_until)

    def may_try(self, now: float) -> bool:
        """Whether to try to lead: the preferred one at once, the others after a grace."""
        if self.stands_by(now):
            return False
        if not self.elected or self.preferred in (None, self.me):
            return True
        return self.vacant_since is not None and now - self.vacant_since >= GRACE_SECONDS

    def may_take(self, now: float, free_since: float) -> bool:
        """Whether to take a lead that has been seen free since then: one that is blind comes last."""
        is_blind = self.elected and now - self.looked_at > BLIND_SECONDS
        return not is_blind or now - free_since >= BLIND_PATIENCE_SECONDS

    def may_end_leader(self, now: float) -> bool:
        """Whether who leads is lost: no lease for long, and a Redis that answered all the while."""
        if self.silent_since is None or now - self.looked_at > BLIND_SECONDS:
            return False
        patience = 0.0 if self.preferred in (None, self.me) else GRACE_SECONDS
        return now - self.silent_since >= SILENT_SECONDS + patience

    def doubt(self, now: float, leads: bool) -> str | None:
        """Why a notifier that seems well may be of no use: it could not lead, or knows of nobody who does.

        It has some time to find out, so that a short break of Redis, or a takeover, makes nobody unready.
        """
        if not self.elected:
            return None
        if now - self.looked_at > DOUBT_SECONDS:
            return f"could not lead, since Redis does not do what it must: {self.trouble}"
        if leads or now - self.known_at <= DOUBT_SECONDS:
            return None
        rival = "" if self.rival is None else f"; backend {self.rival} of the database leads, and is silent"
        return f"nobody is known to lead{rival}"

    def is_able(self, now: float) -> bool:
        """Whether this notifier can lead the project, as far as it knows."""
        return self.leads_since is not None or (self.proven and now - self.faulted_at >= FAULT_SECONDS)

    def lead(self, now: float) -> None:
        self.leads_since, self.heard_at, self.proven, self.awaits_schema = now, now, True, False

    def await_schema(self, now: float) -> None:
        """The database answered that there is nothing to lead yet."""
        if self.leads_since is None:
            self.leads_since, self.awaits_schema = now, True
        self.hear(now)

    def hear(self, now: float) -> None:
        """The database answered, whatever it was asked."""
        self.heard_at = now

    def deserves_lease(self, now: float) -> bool:
        """Whether it leads, and can: a leader that hears nothing of its database must not keep others out."""
        return self.leads_since is not None and now - self.heard_at < DATABASE_SECONDS

    def resign(self, *_: object) -> None:
        """The lead was given up, or the session that had it is lost."""
        self.leads_since, self.awaits_schema = None, False

    def fail(self, now: float) -> None:
        self.proven, self.faulted_at = False, now

    def must_hand_over(self, now: float) -> bool:
        """Whether another is to lead this project, in a fleet that has come to rest."""
        return (
            self.leads_since is not None
            and now - self.leads_since >= STABLE_SECONDS
            and now - self.looked_at <= BLIND_SECONDS
            and self.stable
            and self.preferred not in (None, self.me)
        )

    def check(self, now: float) -> None:
        """Raise HandOver when another is to lead; only between two batches."""
        if self.must_hand_over(now):
            raise HandOver(self.preferred or "")
