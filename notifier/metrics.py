"""The notifier's Prometheus metrics.

Each part counts its own events. The series of a project exist from the start, since `rate` misses the first
event of a new series; the series of its backlog exist only while this notifier leads the project.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

from realtime.postgres.backlog import Backlog

_PROJECT = ["project"]

live = Gauge("realtime_notifier_live", "1 while this notifier publishes the changes of the project", _PROJECT)
state = Gauge(
    "realtime_notifier_state", "1 for the state of the project's feed, 0 for the others", ["project", "state"]
)
changes = Counter("realtime_notifier_changes", "Changes published to Redis", _PROJECT)
faults = Counter("realtime_notifier_faults", "Restarts of a project's feed after a fault", _PROJECT)
rings = Counter("realtime_notifier_rings", "Wake-ups of the notifier by the doorbell of a writer", _PROJECT)
late_changes = Counter(
    "realtime_notifier_late_changes", "Times that only the slow poll found changes; should stay 0", _PROJECT
)
resets = Counter(
    "realtime_notifier_resets",
    "Topics that began a new epoch because changes were lost; should stay 0",
    _PROJECT,
)
shed_changes = Counter(
    "realtime_notifier_shed_changes",
    "Changes deleted unpublished because the outbox exceeded its bound",
    _PROJECT,
)
left_out_changes = Counter(
    "realtime_notifier_left_out_changes",
    "Rows of the outbox that were not written by a trigger of this service, left out",
    _PROJECT,
)
elections = Counter(
    "realtime_notifier_elections", "Elections of this notifier as the project's leader", _PROJECT
)
handovers = Counter("realtime_notifier_handovers", "Handovers of the project to another notifier", _PROJECT)
ended_leaders = Counter(
    "realtime_notifier_ended_leaders",
    "Sessions of silent leaders that this notifier ended to take over",
    _PROJECT,
)
full_queues = Counter(
    "realtime_notifier_full_queues",
    "Times that the database's notification queue was too full for a writer to ring",
    _PROJECT,
)
redis_failures = Counter(
    "realtime_notifier_redis_failures", "Calls of the feed to Redis that failed", _PROJECT
)
pending = Gauge(
    "realtime_notifier_pending_changes", "Changes in the outbox that are not published yet", _PROJECT
)
lag_seconds = Gauge(
    "realtime_notifier_lag_seconds", "Age of the oldest change that is not published yet", _PROJECT
)
batch_changes = Histogram(
    "realtime_notifier_batch_changes",
    "Changes in a batch",
    buckets=(1, 10, 100, 1_000, 10_000, 100_000, 1_000_000),
)
batch_seconds = Histogram("realtime_notifier_batch_seconds", "Time to read a batch and publish it to Redis")

_COUNTERS = (
    changes,
    faults,
    rings,
    late_changes,
    resets,
    shed_changes,
    left_out_changes,
    elections,
    handovers,
    ended_leaders,
    full_queues,
    redis_failures,
)


def add_project(project: str) -> None:
    """Create the series of a project at 0; series that exist keep their values."""
    live.labels(project)
    for counter in _COUNTERS:
        counter.labels(project)


def remove_project(project: str) -> None:
    """Remove the series of a project that is no longer served."""
    live.remove(project)
    state.remove_by_labels({"project": project})
    for counter in _COUNTERS:
        counter.remove(project)
    forget_backlog(project)


def show_state(project: str, now: str, states: Iterable[str], *, is_live: bool) -> None:
    """Set the gauges of which of these states a project's feed is in, and whether it publishes changes."""
    for one in states:
        state.labels(project, one).set(one == now)
    live.labels(project).set(is_live)


def measure_backlog(project: str, backlog: Backlog) -> None:
    """Set the gauges of the changes that wait in a project's outbox; only the leader measures them."""
    pending.labels(project).set(backlog.pending)
    lag_seconds.labels(project).set(backlog.lag_seconds)


def forget_backlog(project: str) -> None:
    """Remove the series of a project's backlog, which this notifier no longer knows."""
    pending.remove(project)
    lag_seconds.remove(project)
