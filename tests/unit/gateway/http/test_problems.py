"""What is wrong with a project, in the words of the documents, and nothing where nothing is wrong."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fleet.messages import Stats
from gateway.http.problems import DOCS, KINDS, LAG_SECONDS, MOST_NAMED, MOST_PENDING, Figures, problems
from tests.docs_fixture import table

WELL = Stats(
    version="1.0.0",
    started_at="…",
    draining=False,
    connections=1,
    subscriptions=1,
    channels=1,
    queue_bytes=0,
    messages_in=1,
    messages_out=1,
    bytes_out=1,
    slow_consumers=7,  # some time ago
    slow_consumers_of_late=0,
    errors=3,
)
ALL_WELL = Figures(
    nodes={"a": WELL, "b": WELL},
    missing=[],
    has_redis=True,
    is_notifier_live=True,
    pending=3,
    lag_seconds=0.2,
    unguarded=[],
)


def draining(stats: Stats) -> Stats:
    return _with(stats, draining=True)


def _with(stats: Stats, **changes: object) -> Stats:
    facts = {field: getattr(stats, field) for field in stats.__struct_fields__}
    return Stats(**facts | changes)


def test_where_nothing_is_wrong_there_is_no_problem():
    assert problems(ALL_WELL) == []


CASES: dict[str, tuple[dict[str, Any], str]] = {
    "redis_unavailable": ({"has_redis": False}, "cannot reach Redis"),
    "database_unavailable": ({"pending": None, "lag_seconds": None, "unguarded": None}, "does not answer"),
    "notifier_down": ({"is_notifier_live": False, "pending": 1_234}, "1,234 changes wait"),
    "lag": ({"lag_seconds": LAG_SECONDS}, "5 seconds"),
    "pending": ({"pending": MOST_PENDING}, "10,000 changes wait"),
    "partition_unguarded": ({"unguarded": ["public.orders_1", "public.orders_2"]}, "public.orders_1, public"),
    "node_silent": ({"missing": ["b"]}, ": b."),
    "node_draining": ({"nodes": {"a": WELL, "b": _with(WELL, draining=True)}}, ": b."),
    "slow_consumers": ({"nodes": {"a": _with(WELL, slow_consumers_of_late=1)}}, "1 client was closed"),
}


@pytest.mark.parametrize("code", CASES)
def test_each_problem_is_told_alone_and_says_what_it_is(code):
    changes, words = CASES[code]
    (problem,) = problems(replace(ALL_WELL, **changes))
    assert problem.code == code
    assert words in problem.message
    assert (problem.severity, problem.action) == KINDS[code]


def test_every_kind_of_problem_can_come():
    assert set(CASES) == set(KINDS)


def test_what_follows_from_a_problem_is_not_told():
    found = problems(replace(ALL_WELL, is_notifier_live=False, pending=50_000, lag_seconds=90.0))
    assert [one.code for one in found] == ["notifier_down"]
    found = problems(replace(ALL_WELL, has_redis=False, is_notifier_live=False, pending=50_000))
    assert [one.code for one in found] == ["redis_unavailable"]


def test_of_many_names_some_are_told():
    (problem,) = problems(replace(ALL_WELL, missing=[f"n{number}" for number in range(MOST_NAMED + 3)]))
    assert problem.message.endswith("n4 and 3 more.")


FIGURES = st.builds(
    Figures,
    nodes=st.dictionaries(st.sampled_from("ab"), st.sampled_from([WELL, draining(WELL)])),
    missing=st.lists(st.sampled_from("cd")),
    has_redis=st.booleans(),
    is_notifier_live=st.booleans(),
    pending=st.none() | st.integers(0, 10**6),
    lag_seconds=st.none() | st.floats(0, 10**6),
    unguarded=st.none() | st.lists(st.just("public.t")),
)


@given(FIGURES)
def test_problems_come_once_each_and_the_worst_first(figures):
    found = problems(figures)
    assert len({one.code for one in found}) == len(found)
    severities = [one.severity for one in found]
    assert severities == sorted(severities)  # "error" before "warning"
    for one in found:
        assert re.fullmatch(r"[A-Z0-9].*\.", one.message)
        assert one.action


def test_the_documents_have_the_same_codes_severities_and_actions():
    page, _, anchor = DOCS.partition("#")
    rows = table(page, anchor.capitalize())
    assert {code: (severity, action) for code, severity, _, action in rows} == {
        code: tuple(kind) for code, kind in KINDS.items()
    }
    assert all(meaning for _, _, meaning, _ in rows)
