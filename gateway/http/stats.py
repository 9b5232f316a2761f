"""REST: the figures of a project on all nodes, those of its notifier, and what is wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, NamedTuple, TypeVar

from gateway.fleet.messages import Stats
from gateway.http.context import Call
from gateway.http.fleet_bodies import NodeStats, NotifierStats, ProblemEntry, StatsResponse
from gateway.http.problems import DOCS, Figures, Problem, problems
from gateway.http.status import NO_ANSWER, is_feeding
from gateway.timestamps import rfc3339
from realtime import names
from realtime.waiting.single_flight import SingleFlight

WAIT_SECONDS = 1.25  # for Redis and for the database

AnswerT = TypeVar("AnswerT")


class ProjectFigures(NamedTuple):
    """What Redis and the project's database know of its changes; None: no answer."""

    has_redis: bool
    lease: dict[str, Any] | None  # of the notifier
    backlog: tuple[int, float] | None  # changes that wait, and seconds since the oldest
    unguarded: list[str] | None  # partitions


async def stats(call: Call) -> StatsResponse:
    """Tell what all nodes and the notifier do, and what is wrong."""
    recent = call.services.recent_figures.setdefault(call.tenant, SingleFlight(name="read figures"))
    found, project = await asyncio.gather(
        call.services.fleet.stats(call.tenant.project_id), recent.get(lambda: _figures(call))
    )
    fleet, notifier = found.value, _notifier(project)
    figures = Figures(
        nodes=fleet.nodes,
        missing=found.missing,
        has_redis=fleet.has_redis and project.has_redis,
        is_notifier_live=notifier.status == "live",
        pending=notifier.pending,
        lag_seconds=notifier.lag_seconds,
        unguarded=project.unguarded,
    )
    return StatsResponse(
        timestamp=rfc3339(time.time()),
        nodes=[_node(node, one) for node, one in sorted(fleet.nodes.items())],
        notifier=notifier,
        missing=found.missing,
        problems=[_entry(problem) for problem in problems(figures)],
    )


async def _figures(call: Call) -> ProjectFigures:
    report, backlog, unguarded = await asyncio.gather(
        _answer(call, call.services.broker.read_report(names.notifier(call.tenant.project_id))),
        _answer(call, call.tenant.backlog()),
        _answer(call, call.tenant.catalogue.unguarded_names()),
    )
    (is_read, lease), (has_backlog, waiting), (_, partitions) = report, backlog, unguarded
    return ProjectFigures(
        is_read,
        lease if isinstance(lease, dict) else None,
        (waiting.pending, waiting.lag_seconds) if has_backlog and waiting is not None else None,
        partitions,
    )


async def _answer(call: Call, work: Coroutine[Any, Any, AnswerT]) -> tuple[bool, AnswerT | None]:
    """Return whether an answer came in time, and the answer."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            return True, await work
    except TimeoutError:
        return False, None
    except NO_ANSWER as error:
        call.tenant.tables.report_refusal(error)
        return False, None


def _notifier(project: ProjectFigures) -> NotifierStats:
    lease = project.lease
    holder, changes = (lease or {}).get("holder"), (lease or {}).get("changes")
    pending, lag_seconds = project.backlog or (None, None)
    return NotifierStats(
        status="live" if is_feeding(lease) else "down",
        node=holder if isinstance(holder, str) else None,
        pending=pending,
        lag_seconds=lag_seconds,
        changes=changes if isinstance(changes, int) and not isinstance(changes, bool) else None,
    )


def _node(node: str, one: Stats) -> NodeStats:
    return NodeStats(
        id=node,
        version=one.version,
        started_at=one.started_at,
        draining=one.draining,
        connections=one.connections,
        subscriptions=one.subscriptions,
        channels=one.channels,
        messages_in=one.messages_in,
        messages_out=one.messages_out,
        bytes_out=one.bytes_out,
        queue_bytes=one.queue_bytes,
        slow_consumers=one.slow_consumers,
        errors=one.errors,
    )


def _entry(problem: Problem) -> ProblemEntry:
    return ProblemEntry(
        code=problem.code,
        severity=problem.severity,
        message=problem.message,
        action=problem.action,
        docs=DOCS,
    )
