"""This notifier's view of the fleet: which notifiers live, which lead each project, which should lead it.

The election calls Redis several times a second, for all projects at once: it signs this notifier in, renews
the leases of the projects that it leads, and reports to each project's candidacy. Redis only says who should
try; the feed's row in the project's database decides who leads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress

import msgspec

from notifier.leadership.assignment import Assigned, assign
from notifier.leadership.candidacy import STABLE_SECONDS, Candidacy
from notifier.leadership.lease_store import Claim, LeaseStore, Wish
from notifier.leadership.timings import DEFAULTS, LeadershipTimings
from realtime.causes.sentence import why
from realtime.errors import Unavailable
from realtime.logs.setup import get_logger
from realtime.redis.client import Store
from realtime.waiting.survival import Part

log = get_logger(__name__)

_part = Part("election")

GOODBYE_SECONDS = 2.0  # for signing out


class Facts(msgspec.Struct, frozen=True):
    """What a notifier reports of itself: its projects, and those that it cannot lead now."""

    serves: list[str]
    unable: list[str]


class Fleet:
    """Which notifiers are signed in, and which of them should lead each project."""

    def __init__(self) -> None:
        self._facts: dict[str, bytes] = {}  # of each notifier, as stored in Redis
        self._changed_at = 0.0  # when the facts last changed
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
        """Count the fleet as changed now: Redis does not tell what happens meanwhile."""
        self._changed_at = now

    def is_stable(self, now: float) -> bool:
        return now - self._changed_at >= STABLE_SECONDS

    def preferred(self, project: str) -> str | None:
        return self._assigned.get(project)


def _read(fact: bytes) -> Facts | None:
    """Decode facts; return None for those of another version, or what no notifier wrote."""
    try:
        return msgspec.json.decode(fact, type=Facts)
    except (ValueError, RecursionError):
        return None


def _able(fleet: Mapping[str, Facts]) -> dict[str, list[str]]:
    """Return the notifiers that can lead each project; if none can, all that serve the project may try."""
    able: dict[str, list[str]] = {}
    serving: dict[str, list[str]] = {}
    for notifier, facts in sorted(fleet.items()):
        for project in facts.serves:
            serving.setdefault(project, []).append(notifier)
        for project in set(facts.serves) - set(facts.unable):
            able.setdefault(project, []).append(notifier)
    return {project: able.get(project, notifiers) for project, notifiers in serving.items()}


class Election:
    """Updates the candidacies of this process's projects."""

    def __init__(self, store: Store, notifier_id: str, timings: LeadershipTimings = DEFAULTS) -> None:
        self.id = notifier_id
        self._timings = timings
        self._candidacies: dict[str, Candidacy] = {}  # by project
        self._left: dict[str, Candidacy] = {}  # of removed projects, until their leases are given up
        self._leases = LeaseStore(store, notifier_id, timings.lease_seconds)
        self._fleet = Fleet()
        self._held: set[str] = set()  # projects whose lease this notifier held at the last look

    def __repr__(self) -> str:
        return f"<Election {self.id}: {len(self._held)} leases of {len(self._candidacies)} projects>"

    def candidacy_of(self, project: str) -> Candidacy:
        """Return this notifier's candidacy for a project; create it if there is none yet."""
        self._left.pop(project, None)
        return self._candidacies.setdefault(project, Candidacy(self.id, elected=True, timings=self._timings))

    def leave(self, project: str) -> None:
        """Stop serving a project; its lease is renewed until the feed has ended, and is then given up."""
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
                await asyncio.sleep(self._timings.look_seconds)
        finally:
            with suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(GOODBYE_SECONDS):
                    await self._leases.leases([Claim(project, Wish.LEAVE) for project in self._held])
                    await self._leases.sign_out()

    async def _look(self) -> None:
        try:
            facts = await self._leases.sign_in(self._facts(time.monotonic()))
            now = time.monotonic()  # of the claims, which miss a feed that becomes leader later
            # A copy: a reload may change both during the next call.
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
                self._update_candidacy(project, candidacy, holder, now)
        self._held = {one for (one, _), holder in zip(candidacies, holders, strict=True) if holder == self.id}
        self._forget_left({claim.project for claim in claims if claim.wish is Wish.LEAVE})

    def _update_candidacy(
        self, project: str, candidacy: Candidacy, holder: str | Unavailable | None, now: float
    ) -> None:
        if isinstance(holder, Unavailable):  # for this lease alone
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
        # A new leader overwrites the lease of the former leader. A former leader that does not know yet that
        # it lost the lead must not overwrite a lease, nor a notifier that waits for the schema.
        is_new = candidacy.leads_since > candidacy.looked_at and not candidacy.awaits_schema
        wish = Wish.TAKE if is_new else Wish.RENEW
        return Claim(project, wish, candidacy.state, candidacy.changes)

    def _facts(self, now: float) -> bytes:
        unable = [project for project, candidacy in self._candidacies.items() if not candidacy.is_able(now)]
        return msgspec.json.encode(Facts(list(self._candidacies), unable))
