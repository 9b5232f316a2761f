"""Which series there are, and when: from the start, until a project goes, as documented, as Prometheus likes.

What they count is for `test_counting.py`.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import REGISTRY, generate_latest

from gateway import metrics as gateway_metrics
from notifier import metrics as notifier_metrics
from notifier.project import ProjectFeed, State
from realtime.postgres.backlog import Backlog
from tests.docs_fixture import table
from tests.expressions import METRICS, series, series_of, value
from tests.manifests import run

PROJECT = "there"
GAUGES = ("connections", "subscriptions", "presences", "topics")


def test_a_project_has_its_series_at_a_gateway_until_it_is_removed():
    gateway_metrics.add_project(PROJECT)
    assert {f"realtime_gateway_{one}" for one in GAUGES} < series_of(PROJECT)
    gateway_metrics.add_project(PROJECT)
    gateway_metrics.remove_project(PROJECT)
    gateway_metrics.remove_project(PROJECT)
    assert series_of(PROJECT) == set()


def test_a_project_has_its_series_at_a_notifier_until_it_is_removed():
    notifier_metrics.add_project(PROJECT)
    assert {"realtime_notifier_live", "realtime_notifier_resets_total"} < series_of(PROJECT)
    notifier_metrics.show_state(PROJECT, "live", ["live", "standby"], is_live=True)
    notifier_metrics.measure_backlog(PROJECT, Backlog(1, 1.0))
    notifier_metrics.add_project(PROJECT)
    notifier_metrics.remove_project(PROJECT)
    notifier_metrics.remove_project(PROJECT)
    assert series_of(PROJECT) == set()


def test_a_project_that_comes_back_begins_at_0():
    notifier_metrics.add_project(PROJECT)
    notifier_metrics.faults.labels(PROJECT).inc()
    notifier_metrics.remove_project(PROJECT)
    notifier_metrics.add_project(PROJECT)
    assert value("realtime_notifier_faults_total", project=PROJECT) == 0
    notifier_metrics.remove_project(PROJECT)


@pytest.mark.parametrize("state", State)
async def test_a_state_tells_whether_changes_are_published_and_whose_backlog_is_known(state):
    nothing: Any = None
    settings: Any = SimpleNamespace(project_id=PROJECT, project=None)
    feed = ProjectFeed(settings, nothing)
    feed.state = next(one for one in State if one is not state)
    notifier_metrics.measure_backlog(PROJECT, Backlog(5, 1.5))
    feed._enter(state)
    states = {one: value("realtime_notifier_state", project=PROJECT, state=one.name.lower()) for one in State}
    assert states == {one: float(one is state) for one in State}
    assert value("realtime_notifier_live", project=PROJECT) == (state in (State.LIVE, State.NO_SCHEMA))
    backlog = ("realtime_notifier_pending_changes", "realtime_notifier_lag_seconds")
    assert [value(name, project=PROJECT) for name in backlog] == ([5, 1.5] if feed.leads else [0, 0])
    assert feed.leads is (backlog[0] in series_of(PROJECT))
    notifier_metrics.remove_project(PROJECT)


def test_prometheus_finds_nothing_to_mend_in_names_and_explanations():
    notifier_metrics.add_project(PROJECT)
    notifier_metrics.measure_backlog(PROJECT, Backlog(1, 1.0))
    run("promtool", "check", "metrics", said=generate_latest(REGISTRY).decode())
    notifier_metrics.remove_project(PROJECT)


def test_the_documented_labels_are_those_of_the_code():
    for name, labels, _ in table("docs/operations.md", "Metrics"):
        expected = next(series()[one] for one in (name, f"{name}_count") if one in series())
        assert set(labels.replace("`", "").split(", ")) - {""} == expected, name


def test_a_histogram_is_named_by_its_unit():
    described = [family for metric in METRICS for family in metric.describe()]
    names = [family.name for family in described if family.type == "histogram"]
    assert names
    assert all(name.endswith(("_seconds", "_changes")) for name in names), names


def test_the_documented_states_are_those_of_a_feed():
    (text,) = [
        row[2] for row in table("docs/operations.md", "Metrics") if row[0] == "realtime_notifier_state"
    ]
    assert all(f"`{state.name.lower()}`" in text for state in State)
