"""What is wrong with a project, in sentences, and what an operator does about it. Pure.

The table of problems in `docs/operations.md` has the same codes, severities and actions: a test compares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from gateway.fleet.messages import Stats
from gateway.projects.tally import LATE_SECONDS

LAG_SECONDS = 5.0  # age of the oldest change, from which changes are late
MOST_PENDING = 10_000  # changes, from which many wait
MOST_NAMED = 5  # of nodes or tables in one sentence

DOCS = "docs/operations.md#problems"

Severity = Literal["error", "warning"]


class Kind(NamedTuple):
    """A kind of problem: how bad it is, and what to do."""

    severity: Severity
    action: str


KINDS: dict[str, Kind] = {
    "redis_unavailable": Kind(
        "error",
        "See to Redis, or to the network between; the log of the gateway names the cause. "
        "Nothing has to be restarted.",
    ),
    "database_unavailable": Kind(
        "error",
        "See to the project's database and its role; the log of the gateway names the cause. "
        "Changes wait there until it is back.",
    ),
    "notifier_down": Kind(
        "error",
        "Start a notifier, or see its /readyz and its log. Changes wait in the outbox until it publishes "
        "them.",
    ),
    "lag": Kind(
        "warning",
        "See whether Redis is slow, or writers write more than a notifier can take: "
        "realtime_notifier_batch_seconds tells.",
    ),
    "pending": Kind(
        "warning",
        "Wait if it was one large write. If it grows, see to the notifier and to Redis, "
        "and set outbox_max_rows before the disk is full.",
    ),
    "partition_unguarded": Kind(
        "warning",
        "Wait for some seconds: the notifier adds the triggers. If it stays, upkeep_failed in its log "
        "has the reason, mostly a table of another owner.",
    ),
    "node_silent": Kind(
        "warning",
        "See whether that gateway runs, and is not frozen or cut off from Redis. After presence_ttl_seconds "
        "others clean up after it.",
    ),
    "node_draining": Kind(
        "warning",
        "Nothing if somebody stopped it or deploys: its clients go to other gateways. Else see who stops it.",
    ),
    "slow_consumers": Kind(
        "warning",
        "Nothing for one client. For many, see the network of the gateways, and whether clients subscribe "
        "to more than they can take.",
    ),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong now."""

    code: str
    message: str

    @property
    def severity(self) -> Severity:
        return KINDS[self.code].severity

    @property
    def action(self) -> str:
        return KINDS[self.code].action


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known of a project at one moment; None stands for a figure that cannot be had."""

    nodes: Mapping[str, Stats]
    missing: Sequence[str]
    has_redis: bool
    is_notifier_live: bool
    pending: int | None
    lag_seconds: float | None
    unguarded: Sequence[str] | None  # partitions whose changes are not captured


def problems(figures: Figures) -> list[Problem]:
    """Return what is wrong, the worst first; what follows from a problem that is named is left out."""
    found = list(_found(figures))
    order = {code: rank for rank, code in enumerate(KINDS)}
    return sorted(found, key=lambda one: order[one.code])


def _found(now: Figures) -> Iterator[Problem]:
    if not now.has_redis:
        yield Problem(
            "redis_unavailable", "This node cannot reach Redis: changes and messages do not arrive."
        )
    if now.pending is None or now.lag_seconds is None:
        yield Problem("database_unavailable", "The project's database does not answer.")
    else:
        yield from _of_changes(now, now.pending, now.lag_seconds)
    if now.has_redis and not now.is_notifier_live:
        waiting = f" {_counted(now.pending, 'change')} {_verb(now.pending, 'wait')}." if now.pending else ""
        yield Problem("notifier_down", f"No notifier publishes the changes of this project.{waiting}")
    if now.unguarded:
        names = _named(now.unguarded)
        yield Problem("partition_unguarded", f"Direct changes of these partitions are not captured: {names}.")
    if now.missing:
        yield Problem("node_silent", f"These nodes did not answer in time: {_named(now.missing)}.")
    yield from _of_nodes(now.nodes)


def _of_changes(now: Figures, pending: int, lag_seconds: float) -> Iterator[Problem]:
    if not now.has_redis or not now.is_notifier_live:
        return  # that changes wait is a consequence
    if lag_seconds >= LAG_SECONDS:
        yield Problem("lag", f"Changes are late: the oldest one waits for {lag_seconds:.0f} seconds.")
    if pending >= MOST_PENDING:
        yield Problem("pending", f"{_counted(pending, 'change')} wait in the outbox.")


def _of_nodes(nodes: Mapping[str, Stats]) -> Iterator[Problem]:
    if draining := sorted(node for node, stats in nodes.items() if stats.draining):
        yield Problem("node_draining", f"These nodes send their clients away to stop: {_named(draining)}.")
    if slow := sum(stats.slow_consumers_of_late for stats in nodes.values()):
        minutes = f"{LATE_SECONDS / 60:.0f} minutes"
        verb = "was" if slow == 1 else "were"
        yield Problem(
            "slow_consumers",
            f"{_counted(slow, 'client')} {verb} closed in the last {minutes} for reading too slowly.",
        )


def _named(names: Sequence[str]) -> str:
    others = len(names) - MOST_NAMED
    shown = ", ".join(names[:MOST_NAMED])
    return f"{shown} and {others} more" if others > 0 else shown


def _counted(number: int | None, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _verb(number: int | None, verb: str) -> str:
    return f"{verb}s" if number == 1 else verb
