"""What the notifier counts, as Prometheus sees it.

Whoever does the thing counts it. A project's series are there from the start, since `rate` does not see the
first event of a new series; those of its backlog only while this notifier leads it.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

from realtime.postgres.backlog import Backlog

_PROJECT = ["project"]

live = Gauge("realtime_notifier_live", "1 while this notifier publishes what comes", _PROJECT)
state = Gauge("realtime_notifier_state", "1 for the state in which it is", ["project", "state"])
changes = Counter("realtime_notifier_changes", "Changes that were new to Redis", _PROJECT)
faults = Counter("realtime_notifier_faults", "Lives of a project's feed that ended in a fault", _PROJECT)
rings = Counter("realtime_notifier_rings", "Times that a writer's doorbell woke the notifier", _PROJECT)
late_changes = Counter(
    "realtime_notifier_late_changes", "Times that only the slow poll found a change; should stay 0", _PROJECT
)
resets = Counter(
    "realtime_notifier_resets", "Topics that began anew because changes were lost; should stay 0", _PROJECT
)
shed_changes = Counter(
    "realtime_notifier_shed_changes", "Changes given up because the outbox was over its bound", _PROJECT
)
left_out_changes = Counter(
    "realtime_notifier_left_out_changes", "Rows of the outbox that no trigger of ours wrote", _PROJECT
)
elections = Counter("realtime_notifier_elections", "Times that it became the project's leader", _PROJECT)
handovers = Counter("realtime_notifier_handovers", "Times that it left a project to another", _PROJECT)
ended_leaders = Counter(
    "realtime_notifier_ended_leaders", "Sessions of silent leaders that it ended to take over", _PROJECT
)
full_queues = Counter(
    "realtime_notifier_full_queues",
    "Times that the database's queue of notifications was too full for a writer to ring",
    _PROJECT,
)
redis_failures = Counter(
    "realtime_notifier_redis_failures", "Times that Redis did not carry out what the feed asked for", _PROJECT
)
pending = Gauge("realtime_notifier_pending_changes", "Changes in the outbox not yet published", _PROJECT)
lag_seconds = Gauge("realtime_notifier_lag_seconds", "Age of the oldest change not yet published", _PROJECT)
batch_changes = Histogram(
    "realtime_notifier_batch_changes",
    "Changes in a batch",
    buckets=(1, 10, 100, 1_000, 10_000, 100_000, 1_000_000),
)
batch_seconds = Histogram("realtime_notifier_batch_seconds", "Time to read a batch and hand it to Redis")

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
    """Begin the series of a project at 0; nothing happens to those that are there."""
    live.labels(project)
    for counter in _COUNTERS:
        counter.labels(project)


def remove_project(project: str) -> None:
    """Drop the series of a project that is served no more."""
    live.remove(project)
    state.remove_by_labels({"project": project})
    for counter in _COUNTERS:
        counter.remove(project)
    forget_backlog(project)


def show_state(project: str, now: str, states: Iterable[str], *, is_live: bool) -> None:
    """Tell in which of these states a project's feed is, and whether it publishes what comes."""
    for one in states:
        state.labels(project, one).set(one == now)
    live.labels(project).set(is_live)


def measure_backlog(project: str, backlog: Backlog) -> None:
    """Tell what waits in a project's outbox; only a leader knows."""
    pending.labels(project).set(backlog.pending)
    lag_seconds.labels(project).set(backlog.lag_seconds)


def forget_backlog(project: str) -> None:
    """What was known of a project's outbox is not true any more."""
    pending.remove(project)
    lag_seconds.remove(project)
