"""What a notifier takes the fleet for, by the facts of those that are signed in."""

from __future__ import annotations

import msgspec

from notifier.leadership import candidacy
from notifier.leadership.election import Facts, Fleet


def facts(serves: str, unable: str = "") -> bytes:
    return msgspec.json.encode(Facts(list(serves), list(unable)))


def test_a_project_is_for_those_that_serve_it_and_are_able_and_for_all_if_none_is() -> None:
    fleet = Fleet()
    fleet.see(100, {"a": facts("xyz", "yz"), "b": facts("yz", "z"), "c": facts("z", "z")})
    assert {project: fleet.preferred(project) for project in "xyz?"} == {
        "x": "a",
        "y": "b",
        "z": "c",
        "?": None,
    }


def test_the_fleet_is_stable_when_nobody_came_went_or_changed_for_a_while() -> None:
    fleet, now = Fleet(), 100.0
    for change in (
        {"a": facts("x")},
        {"a": facts("x"), "b": facts("x")},
        {"a": facts("x"), "b": facts("x", "x")},
    ):
        fleet.see(now, change)
        assert not fleet.is_stable(now + candidacy.STABLE_SECONDS - 1)
        now += candidacy.STABLE_SECONDS
        fleet.see(now, change)
        assert fleet.is_stable(now)
    fleet.see_nothing(now)
    assert not fleet.is_stable(now)
