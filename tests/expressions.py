"""What PromQL expressions ask for, and whether the code has it: names of series and their labels.

Read by the tests of the dashboard and of the alerts. Knows PromQL only as far as these need it; whether an
expression is one at all is for promtool to say.
"""

from __future__ import annotations

import re
from functools import cache

from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from gateway import metrics as gateway_metrics
from gateway.http.request_metrics import counted
from notifier import metrics as notifier_metrics
from realtime.postgres.backlog import Backlog
from realtime.waiting import survival

METRICS = [
    metric
    for module in (survival, gateway_metrics, notifier_metrics)
    for metric in vars(module).values()
    if isinstance(metric, MetricWrapperBase)
]
# What Prometheus and the operator put on every series.
BY_SCRAPE = {"namespace", "job", "instance", "pod"}
BY_OTHERS: dict[str, set[str]] = {
    "up": set(),
    "kube_pod_status_ready": {"condition"},
    "kube_pod_container_status_restarts_total": {"container"},
    "process_cpu_seconds_total": set(),
    "process_resident_memory_bytes": set(),
    "process_open_fds": set(),
    "process_max_fds": set(),
    "process_start_time_seconds": set(),
}

_SERIES = re.compile(r"\b(?:realtime|kube|process)_\w+|\bup\b")
_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"')
_MATCHERS = re.compile(r"\{([^{}]*)\}")
_GROUPS = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^()]*)\)")


def family(metric: MetricWrapperBase) -> str:
    """A metric's name without what its kind of series puts behind it."""
    (described,) = metric.describe()
    return described.name


@cache
def series() -> dict[str, set[str]]:
    """Every name of a series that the code exposes while a project is served, with its labels."""
    project = "served"
    gateway_metrics.add_project(project)
    notifier_metrics.add_project(project)
    notifier_metrics.show_state(project, "live", ["live"], is_live=True)
    notifier_metrics.measure_backlog(project, Backlog(0, 0.0))
    counted()
    samples = [sample for metric in METRICS for found in metric.collect() for sample in found.samples]
    gateway_metrics.remove_project(project)
    notifier_metrics.remove_project(project)
    return {sample.name: set(sample.labels) for sample in samples if not sample.name.endswith("_created")}


def names_in(expression: str) -> set[str]:
    """The series that an expression names, those in the pattern of a `__name__` included."""
    patterns = re.findall(r'__name__=~"([^"]*)"', expression)
    return {name for text in (_STRINGS.sub('""', expression), *patterns) for name in _SERIES.findall(text)}


def labels_in(expression: str) -> set[str]:
    """The labels that it asks for or groups by."""
    bare = _STRINGS.sub('""', expression)
    matched = [one for inside in _MATCHERS.findall(bare) for one in re.findall(r"(\w+)\s*[=!]", inside)]
    grouped = [one for inside in _GROUPS.findall(bare) for one in re.findall(r"\w+", inside)]
    return {*matched, *grouped} - {"__name__"}


def check(expression: str) -> None:
    """Fail unless all that is named exists, and every label on each series that the expression names."""
    known = series() | BY_OTHERS
    names = names_in(expression)
    assert names, f"{expression} asks for nothing"
    assert names <= known.keys(), f"{names - known.keys()} in {expression}"
    for name in names:
        assert labels_in(expression) <= known[name] | BY_SCRAPE, f"{name} in {expression}"


def value(name: str, **labels: str) -> float:
    """Of a series now; 0 where there is none yet."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def series_of(project: str) -> set[str]:
    """The names of all series that there are of a project now."""
    found = [sample for metric in REGISTRY.collect() for sample in metric.samples]
    return {sample.name for sample in found if sample.labels.get("project") == project}
