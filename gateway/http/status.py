"""REST: the status of a project on all nodes."""

from __future__ import annotations

import asyncio

from gateway.http.bodies import StatusNode, StatusNotifier, StatusResponse, StatusTable
from gateway.http.context import Call
from gateway.http.tables import column_list
from gateway.presence.node import NodeReport
from realtime import names
from realtime.errors import ClientError, StatementFailed, Unavailable
from realtime.waiting.single_flight import SingleFlight

# The database cannot be reached, or its role lacks rights.
NO_ANSWER = (ClientError, StatementFailed)


async def status(call: Call) -> StatusResponse:
    """Tell how the project does on all nodes; to ordinary users a little, and not asked anew for each."""
    if call.identity.is_service:
        return await _status(call)
    recent = call.services.recent_status.setdefault(call.tenant, SingleFlight())
    return await recent.get(lambda: _status_for_all(call))


async def _status_for_all(call: Call) -> StatusResponse:
    now = await _status(call)
    return StatusResponse(project_id=now.project_id, status=now.status, connections=now.connections)


async def _status(call: Call) -> StatusResponse:
    (reports, redis_ok), notifier, (tables, guarded) = await asyncio.gather(
        _all_nodes(call), _notifier(call), _enabled_tables(call)
    )
    ok = redis_ok and guarded and notifier.status == "live" and notifier.pending is not None
    by_node = [(report, report.connections.get(call.tenant.project_id, 0)) for report in reports]
    return StatusResponse(
        project_id=call.tenant.project_id,
        status="ok" if ok else "degraded",
        connections=sum(connections for _, connections in by_node),
        tables=tables,
        nodes=[StatusNode(id=r.id, connections=n, started_at=r.started_at) for r, n in by_node],
        notifier=notifier,
    )


async def _all_nodes(call: Call) -> tuple[list[NodeReport], bool]:
    """Return the reports of all nodes, and whether Redis answered; without Redis, of this node alone."""
    try:
        return await call.services.node.all_reports(), True
    except Unavailable:
        return [call.services.node.report()], False


async def _notifier(call: Call) -> StatusNotifier:
    try:
        report = await call.services.broker.read_report(names.notifier(call.tenant.project_id))
        alive = is_feeding(report)
    except Unavailable:
        alive = False
    try:
        backlog = await call.tenant.backlog()
    except NO_ANSWER as error:
        call.tenant.tables.report_refusal(error)
        return StatusNotifier(status="live" if alive else "down", pending=None, lag_seconds=None)
    return StatusNotifier(
        status="live" if alive else "down", pending=backlog.pending, lag_seconds=backlog.lag_seconds
    )


def is_feeding(report: object) -> bool:
    """Whether a notifier leads the project, by the lease in Redis, and publishes its changes."""
    return isinstance(report, dict) and report.get("state") != names.FEED_FAILED


async def _enabled_tables(call: Call) -> tuple[list[StatusTable], bool]:
    """Return the enabled tables, and whether the changes of all their partitions are captured."""
    try:
        enabled = await call.tenant.catalogue.enabled()
        guarded = not await call.tenant.catalogue.unguarded_partitions()
    except NO_ANSWER as error:
        call.tenant.tables.report_refusal(error)
        return [], False
    return [
        StatusTable(
            schema=one.table.schema,
            table_name=one.table.name,
            events=list(one.events),
            columns=column_list(one),
        )
        for one in enabled
    ], guarded
