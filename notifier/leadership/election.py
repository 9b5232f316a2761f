"""This notifier's view of the fleet: who lives, who leads what, who is to lead what.

Goes to Redis several times a second, for all projects at once: signs itself in, renews the leases of the
projects that it leads, and tells each project's candidacy what it saw. Redis only says who should try; the
feed's row in the project's database decides who leads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress

import msgspec

from notifier.leadership.assignment import Assigned, assign
from notifier.leadership.candidacy import LEASE_SECONDS, STABLE_SECONDS, Candidacy
from notifier.leadership.lease_store import Claim, LeaseStore, Wish
from realtime.causes.sentence import why
from realtime.errors import Unavailable
from realtime.logs.setup import get_logger
from realtime.redis.client import Store
from realtime.waiting.survival import Part

log = get_logger(__name__)

_part = Part("election")

LOOK_SECONDS = 0.25
GOODBYE_SECONDS = 2.0  # for signing out


class Facts(msgspec.Struct, frozen=True):
    """What a notifier tells of itself: its projects, and those that it cannot lead now."""

    serves: list[str]
    unable: list[str]


class Fleet:
    """Who is signed in, and whom that makes the leader of what."""

    def __init__(self) -> None:
        self._facts: dict[str, bytes] = {}  # by notifier, as Redis has them
        self._changed_at = 0.0  # when that was last different
        self._assigned: Assigned = {}

    def see(self, now: float, facts: dict[str, bytes]) -> None:
        if facts == self._facts:
            return
        if facts.keys() != self._facts.keys():
            log.info("notifiers_changed", notifiers=sorted(facts))
        self._facts, self._changed_at = facts, now
        read = {one: _read(fact) for one, fact in facts.items()}
        self._assigned = assign(_able({one: fact for one, fact in read.items() if fact is not None}))

    def see_nothing(self, now: float) -> None:
        """Nobody knows what happens meanwhile."""
        self._changed_at = now

    def is_stable(self, now: float) -> bool:
        return now - self._changed_at >= STABLE_SECONDS

    def preferred(self, project: str) -> str | None:
        return self._assigned.get(project)


def _read(fact: bytes) -> Facts | None:
    """None for what a notifier of another version writes, or no notifier at all."""
    try:
        return msgspec.json.decode(fact, type=Facts)
    except (ValueError, RecursionError):
        return None


def _able(fleet: Mapping[str, Facts]) -> dict[str, list[str]]:
    """Who can lead each project; where none of those that serve it can, all of them may try."""
    able: dict[str, list[str]] = {}
    serving: dict[str, list[str]] = {}
    for notifier, facts in sorted(fleet.items()):
        for project in facts.serves:
            serving.setdefault(project, []).append(notifier)
        for project in set(facts.serves) - set(facts.unable):
            able.setdefault(project, []).append(notifier)
    return {project: able.get(project, notifiers) for project, notifiers in serving.items()}


class Election:
    """Looks after the candidacies of this process's projects."""

    def __init__(self, store: Store, notifier_id: str) -> None:
        self.id = notifier_id
        self._candidacies: dict[str, Candidacy] = {}  # by project
        self._left: dict[str, Candidacy] = {}  # of projects served no more, until their leases are given up
        self._leases = LeaseStore(store, notifier_id, LEASE_SECONDS)
        self._fleet = Fleet()
        self._held: set[str] = set()  # projects whose lease is ours, as far as we know

    def __repr__(self) -> str:
        return f"<Election {self.id}: {len(self._held)} leases of {len(self._candidacies)} projects>"

    def candidacy_of(self, project: str) -> Candidacy:
        """Return this notifier's candidacy for a project; it becomes a candidate if it is none yet."""
        self._left.pop(project, None)
        return self._candidacies.setdefault(project, Candidacy(self.id, elected=True))

    def leave(self, project: str) -> None:
        """Serve a project no more; its lease is renewed until the feed has ended, and then given up."""
        self._left[project] = self._candidacies.pop(project)

    async def run(self) -> None:
        """Look until cancelled; then give up all leases and sign out, so that others lead at once."""
        try:
            while True:
                try:
                    await self._look()
                except Exception as error:
                    _part.note(error)
                    self._see_nothing(time.monotonic(), "what it answered cannot be read")
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            with suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(GOODBYE_SECONDS):
                    await self._leases.leases([Claim(project, Wish.LEAVE) for project in self._held])
                    await self._leases.sign_out()

    async def _look(self) -> None:
        try:
            facts = await self._leases.sign_in(self._facts(time.monotonic()))
            now = time.monotonic()  # of the claims: who becomes leader from here on is not among them
            # As they are now: a reload may change them.
            candidacies = [*self._left.items(), *self._candidacies.items()]
            claims = [self._claim(project, candidacy, now) for project, candidacy in candidacies]
            holders = await self._leases.leases(claims)
        except Unavailable as error:
            self._see_nothing(time.monotonic(), why(error))
            return
        with _part.survives():
            self._fleet.see(now, facts)
        for (project, candidacy), holder in zip(candidacies, holders, strict=True):
            with _part.survives(project):
                self._tell(project, candidacy, holder, now)
        self._held = {one for (one, _), holder in zip(candidacies, holders, strict=True) if holder == self.id}
        self._forget_left({claim.project for claim in claims if claim.wish is Wish.LEAVE})

    def _tell(self, project: str, candidacy: Candidacy, holder: str | Unavailable | None, now: float) -> None:
        if isinstance(holder, Unavailable):  # of this lease alone
            candidacy.stable = False
            candidacy.see_nothing(now, why(holder))
            return
        candidacy.preferred, candidacy.stable = self._fleet.preferred(project), self._fleet.is_stable(now)
        candidacy.see_lease(now, holder)
        if candidacy.must_hand_over(now):
            candidacy.wake()

    def _forget_left(self, given_up: set[str]) -> None:
        for project in given_up & self._left.keys():
            if self._left[project].leads_since is None:
                del self._left[project]

    def _see_nothing(self, now: float, trouble: str) -> None:
        self._fleet.see_nothing(now)
        for candidacy in (*self._left.values(), *self._candidacies.values()):
            candidacy.stable = False
            candidacy.see_nothing(now, trouble)

    def _claim(self, project: str, candidacy: Candidacy, now: float) -> Claim:
        if candidacy.leads_since is None or not candidacy.deserves_lease(now):
            return Claim(project, Wish.LEAVE)
        # Who has just become leader overwrites the lease of who was it; a leader that does not know yet
        # that it no longer is one must not do the same, nor who waits for the schema.
        is_new = candidacy.leads_since > candidacy.looked_at and not candidacy.awaits_schema
        return Claim(project, Wish.TAKE if is_new else Wish.RENEW, candidacy.state)

    def _facts(self, now: float) -> bytes:
        unable = [project for project, candidacy in self._candidacies.items() if not candidacy.is_able(now)]
        return msgspec.json.encode(Facts(list(self._candidacies), unable))
