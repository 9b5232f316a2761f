"""What one notifier is to do about one project, by what it saw of the fleet."""

from __future__ import annotations

import pytest

from notifier.leadership.candidacy import (
    BLIND_PATIENCE_SECONDS,
    BLIND_SECONDS,
    DATABASE_SECONDS,
    FAILURE_SECONDS,
    GRACE_SECONDS,
    STABLE_SECONDS,
    Candidacy,
    HandOver,
)
from notifier.leadership.timings import DEFAULTS

LOOK = 0.25
LEASE_SECONDS = DEFAULTS.lease_seconds
SILENT_SECONDS = DEFAULTS.silent_seconds
DOUBT_SECONDS = DEFAULTS.doubt_seconds


class Clock:
    """Looks at Redis again and again for a candidacy."""

    def __init__(self, preferred: str = "me") -> None:
        self.now = 1000.0
        self.candidacy = Candidacy("me", elected=True, preferred=preferred)

    def look(self, holder: str | None, seconds: float = LOOK) -> None:
        """See this holder for so long."""
        for _ in range(round(seconds / LOOK)):
            self.now += LOOK
            self.candidacy.see_lease(self.now, holder)

    def look_in_vain(self, seconds: float) -> None:
        for _ in range(round(seconds / LOOK)):
            self.now += LOOK
            self.candidacy.see_nothing(self.now)

    @property
    def tries(self) -> bool:
        return self.candidacy.may_try(self.now)

    @property
    def ends(self) -> bool:
        return self.candidacy.may_end_leader(self.now)


def test_nobody_tries_before_the_first_look_or_while_another_leads() -> None:
    clock = Clock()
    assert not clock.tries
    clock.look("other", 60)
    assert not clock.tries
    assert not clock.ends


def test_the_preferred_one_tries_at_once_and_the_others_after_a_grace() -> None:
    preferred, other = Clock("me"), Clock("other")
    for clock in (preferred, other):
        clock.look("third", 5)
        clock.look(None)
    assert preferred.tries
    assert not other.tries
    other.look(None, GRACE_SECONDS)
    assert other.tries


def test_a_lease_that_does_not_tell_its_name_is_somebody_elses() -> None:
    clock = Clock()
    clock.look("")
    assert not clock.tries


def test_a_feed_alone_always_tries_and_never_ends_anybody() -> None:
    assert Candidacy().may_try(0)
    assert not Candidacy().may_end_leader(1e9)


def test_a_silent_leader_is_ended_so_long_after_its_last_sign_of_life() -> None:
    clock = Clock()
    clock.look("other", 5)
    clock.look(None, SILENT_SECONDS - LEASE_SECONDS)
    assert not clock.ends
    clock.look(None)
    assert clock.ends


def test_those_that_are_not_preferred_leave_it_to_the_one_that_is() -> None:
    preferred, another = Clock("me"), Clock("another")
    for clock in (preferred, another):
        clock.look("other")
        clock.look(None, SILENT_SECONDS - LEASE_SECONDS + LOOK)
    assert preferred.ends
    assert not another.ends
    another.look(None, GRACE_SECONDS)
    assert another.ends


def test_a_leader_that_was_never_seen_has_all_the_time_from_the_first_look() -> None:
    clock = Clock()
    clock.look(None, SILENT_SECONDS)
    assert not clock.ends
    clock.look(None)
    assert clock.ends


def test_a_sign_of_life_begins_the_silence_anew() -> None:
    clock = Clock()
    clock.look(None, SILENT_SECONDS)
    clock.look("other")
    clock.look(None, SILENT_SECONDS - LEASE_SECONDS)
    assert not clock.ends


def test_while_redis_is_away_somebody_tries_and_nobody_is_silent() -> None:
    clock = Clock()
    clock.look("other", 5)
    clock.look_in_vain(LEASE_SECONDS - LOOK)
    assert not clock.tries, "the lease that was seen still counts"
    clock.look_in_vain(60)
    assert clock.tries
    assert not clock.ends
    clock.look(None, SILENT_SECONDS)
    assert not clock.ends, "silence counts from when Redis was back"


def test_one_look_in_vain_begins_the_silence_anew() -> None:
    clock = Clock()
    clock.look(None, SILENT_SECONDS)
    clock.look_in_vain(LOOK)
    clock.look(None, SILENT_SECONDS)
    assert not clock.ends


def test_who_was_frozen_itself_judges_nobody() -> None:
    clock = Clock()
    clock.look("other")
    clock.look(None, SILENT_SECONDS)
    assert clock.ends
    clock.now += BLIND_SECONDS + 1
    assert not clock.ends
    clock.look(None, SILENT_SECONDS)
    assert not clock.ends


def leading(preferred: str) -> Clock:
    clock = Clock(preferred)
    clock.candidacy.lead(clock.now)
    clock.candidacy.stable = True
    clock.look("me", STABLE_SECONDS + LOOK)
    return clock


def test_a_leader_hands_over_to_the_one_that_is_to_lead() -> None:
    clock = leading("other")
    with pytest.raises(HandOver, match="other"):
        clock.candidacy.check(clock.now)
    clock.candidacy.resign()
    assert not clock.tries, "its own lease is still there"
    clock.look(None)
    assert not clock.tries
    clock.look(None, GRACE_SECONDS)
    assert clock.tries, "nobody took it"


@pytest.mark.parametrize("why", ["preferred", "unstable", "new", "blind", "nobody"])
def test_a_leader_keeps_what_it_has(why: str) -> None:
    clock = leading({"preferred": "me", "nobody": ""}.get(why, "other"))
    if why == "unstable":
        clock.candidacy.stable = False
    elif why == "new":
        clock.candidacy.lead(clock.now - STABLE_SECONDS / 2)
    elif why == "blind":
        clock.now += BLIND_SECONDS + 1
    elif why == "nobody":
        clock.candidacy.preferred = None
    clock.candidacy.check(clock.now)


def test_after_a_fault_a_notifier_is_able_again_when_it_reached_the_database_and_time_has_passed() -> None:
    clock = Clock()
    assert not clock.candidacy.is_able(clock.now), "nobody knows yet"
    clock.candidacy.proven = True
    assert clock.candidacy.is_able(clock.now)
    clock.candidacy.fail(clock.now)
    clock.now += FAILURE_SECONDS
    assert not clock.candidacy.is_able(clock.now)
    clock.candidacy.proven = True
    assert clock.candidacy.is_able(clock.now)


def test_who_leads_is_able_even_after_a_fault() -> None:
    clock = Clock()
    clock.candidacy.fail(clock.now)
    clock.candidacy.lead(clock.now)
    assert clock.candidacy.is_able(clock.now)
    clock.candidacy.resign()
    assert not clock.candidacy.is_able(clock.now)


def test_a_leader_that_hears_nothing_of_its_database_does_not_deserve_the_lease():
    candidacy = Candidacy("n1", elected=True)
    assert not candidacy.deserves_lease(0.0)
    candidacy.lead(0.0)
    assert candidacy.deserves_lease(DATABASE_SECONDS - 0.1)
    assert not candidacy.deserves_lease(DATABASE_SECONDS)
    candidacy.hear(DATABASE_SECONDS)
    assert candidacy.deserves_lease(DATABASE_SECONDS)
    candidacy.resign()
    assert not candidacy.deserves_lease(DATABASE_SECONDS)


def test_one_that_does_not_see_redis_takes_a_lead_only_after_those_that_do() -> None:
    clock = Clock()
    clock.look(None)
    assert clock.candidacy.may_take(clock.now, free_since=clock.now)
    clock.look_in_vain(BLIND_SECONDS + LOOK)
    free_since = clock.now
    assert not clock.candidacy.may_take(clock.now, free_since)
    clock.look_in_vain(BLIND_PATIENCE_SECONDS - LOOK)
    assert not clock.candidacy.may_take(clock.now, free_since)
    clock.look_in_vain(LOOK)
    assert clock.candidacy.may_take(clock.now, free_since)
    assert BLIND_PATIENCE_SECONDS > LEASE_SECONDS + GRACE_SECONDS
    assert Candidacy().may_take(0, 0), "a feed alone has no Redis to see"


def test_a_standby_is_in_doubt_until_it_knows_a_leader_and_for_as_long_as_it_knows_none() -> None:
    clock = Clock()
    assert clock.candidacy.doubt(clock.now, leads=False) == (
        "could not lead, since Redis does not do what it must: no answer yet"
    )
    clock.look(None)
    assert clock.candidacy.doubt(clock.now, leads=False) == "nobody is known to lead"
    clock.look("other")
    assert clock.candidacy.doubt(clock.now, leads=False) is None
    clock.look(None, DOUBT_SECONDS)
    assert clock.candidacy.doubt(clock.now, leads=False) is None, "a takeover is no doubt"
    clock.look(None)
    clock.candidacy.rival = 7
    assert clock.candidacy.doubt(clock.now, leads=False) == (
        "nobody is known to lead; backend 7 of the database leads, and is silent"
    )
    clock.look("me")
    assert clock.candidacy.doubt(clock.now, leads=False), "its own lease makes nobody else a leader"


@pytest.mark.parametrize("leads", [False, True])
def test_whoever_does_not_see_redis_for_long_is_in_doubt(leads: bool) -> None:
    clock = Clock()
    clock.look("me" if leads else "other")
    clock.look_in_vain(DOUBT_SECONDS)
    assert clock.candidacy.doubt(clock.now, leads) is None, "a short break is no doubt"
    clock.candidacy.see_nothing(clock.now + LOOK, "WRONGPASS")
    assert "WRONGPASS" in (clock.candidacy.doubt(clock.now + LOOK, leads) or "")


def test_a_leader_that_sees_redis_and_a_feed_alone_are_in_no_doubt() -> None:
    clock = Clock()
    clock.look("me")
    assert clock.candidacy.doubt(clock.now, leads=True) is None
    assert Candidacy().doubt(0, leads=False) is None


def test_who_waits_for_the_schema_has_the_lease_and_hands_it_on_like_a_leader() -> None:
    clock = Clock("other")
    clock.candidacy.await_schema(clock.now)
    since = clock.candidacy.leads_since
    clock.candidacy.stable = True
    for _ in range(round(STABLE_SECONDS / LOOK) + 1):
        clock.look("me")
        clock.candidacy.await_schema(clock.now)
    assert (clock.candidacy.leads_since, clock.candidacy.awaits_schema) == (since, True)
    assert clock.candidacy.deserves_lease(clock.now)
    with pytest.raises(HandOver, match="other"):
        clock.candidacy.check(clock.now)
    clock.candidacy.lead(clock.now)
    assert not clock.candidacy.awaits_schema
    clock.candidacy.resign()
    assert clock.candidacy.leads_since is None
