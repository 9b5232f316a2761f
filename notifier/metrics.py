"""What the notifier counts, as Prometheus sees it."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_PROJECT = ["project"]

live = Gauge("realtime_notifier_live", "1 while this notifier leads the project's feed", _PROJECT)
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
elections = Counter("realtime_notifier_elections", "Times that it became the project's leader", _PROJECT)
handovers = Counter("realtime_notifier_handovers", "Times that it left a project to another", _PROJECT)
ended_leaders = Counter(
    "realtime_notifier_ended_leaders", "Sessions of silent leaders that it ended to take over", _PROJECT
)
pending = Gauge("realtime_notifier_pending_changes", "Changes in the outbox not yet published", _PROJECT)
lag_seconds = Gauge("realtime_notifier_lag_seconds", "Age of the oldest change not yet published", _PROJECT)
batch_changes = Histogram(
    "realtime_notifier_batch_changes",
    "Changes in a batch",
    buckets=(1, 10, 100, 1_000, 10_000, 100_000, 1_000_000),
)
batch_seconds = Histogram("realtime_notifier_batch_seconds", "Time to read a batch and hand it to Redis")
