"""`realtime status`: how a project does on all nodes, what is wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator

import click
import msgspec

from realtime.cli.columns import harmless, table
from realtime.cli.output import paint, print_answer, print_lines, terminal_width, tinted
from realtime.cli.rest import Rest, Service, ServiceAway, ServiceRefused, service_command
from realtime.cli.tables import words

DEGRADED_STATUS = 3  # of the command; 1 is for every error

SEVERITIES = {"error": "red", "warning": "yellow"}
STATES = {"ok": "green", "live": "green", "degraded": "red", "down": "red"}


class Problem(msgspec.Struct):
    """What is wrong, and what to do."""

    code: str
    severity: str
    message: str
    action: str = ""
    docs: str = ""


class NodeStats(msgspec.Struct):
    id: str
    version: str = ""
    draining: bool = False


class Stats(msgspec.Struct):
    """What the command takes from `GET /stats`."""

    nodes: list[NodeStats] = []
    problems: list[Problem] = []


class Node(msgspec.Struct):
    id: str
    connections: int
    started_at: str


class Notifier(msgspec.Struct):
    status: str
    pending: int | None = None
    lag_seconds: float | None = None


class EnabledTable(msgspec.Struct):
    schema: str
    table_name: str
    events: list[str]
    columns: list[str] | None = None


class Status(msgspec.Struct):
    """The answer of `GET /status`; an ordinary token gets only the first three fields."""

    project_id: str
    status: str
    connections: int
    nodes: list[Node] = []
    tables: list[EnabledTable] = []
    notifier: Notifier | None = None


@click.command()
@service_command
def status(service: Service) -> None:
    """Print how a project does, and what is wrong; ends with status 3 if it is degraded."""
    answer, stats_answer, now, stats = service.ask(_asked)
    if service.as_json:
        parts = msgspec.json.decode(answer, type=dict[str, msgspec.Raw])
        of_stats = msgspec.json.decode(stats_answer, type=dict[str, msgspec.Raw])
        problems = of_stats.get("problems", msgspec.Raw(b"null"))
        print_answer(msgspec.json.encode(parts | {"problems": problems}))
    else:
        print_lines(_lines(now, stats, terminal_width()))
    if now.status != "ok" or any(problem.severity == "error" for problem in stats.problems):
        click.get_current_context().exit(DEGRADED_STATUS)


async def _asked(rest: Rest) -> tuple[bytes, bytes, Status, Stats]:
    answer = await rest.get("/status")
    now = rest.read(answer, Status)
    stats_answer = await _stats(rest)
    return answer, stats_answer, now, rest.read(stats_answer, Stats)


async def _stats(rest: Rest) -> bytes:
    """Return the answer of `GET /stats`; an empty one if the token, or an older gateway, has none to give."""
    try:
        return await rest.get("/stats")
    except (ServiceRefused, ServiceAway):
        return b"{}"


def _lines(now: Status, stats: Stats, width: int | None) -> Iterator[str]:
    word = paint(harmless(now.status), STATES.get(now.status), bold=True)
    people = "connection" if now.connections == 1 else "connections"
    yield f"{harmless(now.project_id)} is {word}: {now.connections} {people}{_of_notifier(now.notifier)}"
    for problem in stats.problems:
        yield from _of_problem(problem)
    if now.nodes:
        more = {node.id: node for node in stats.nodes}
        rows = [
            (
                node.id,
                node.connections,
                _state(more.get(node.id)),
                _version(more.get(node.id)),
                node.started_at,
            )
            for node in now.nodes
        ]
        states = {"state": {"serving": "green", "draining": "yellow"}}
        yield ""
        yield from table(("node", "connections", "state", "version", "started"), rows, width, states, tinted)
    if now.tables:
        tables = [(f"{t.schema}.{t.table_name}", words(t.events), words(t.columns)) for t in now.tables]
        yield ""
        yield from table(("table", "events", "columns"), tables, width, paint=tinted)


def _of_notifier(notifier: Notifier | None) -> str:
    if notifier is None:
        return ""
    text = f", notifier {paint(harmless(notifier.status), STATES.get(notifier.status))}"
    if notifier.pending is not None:
        text += f", {notifier.pending} pending"
    if notifier.lag_seconds is not None:
        text += f", {notifier.lag_seconds:.1f} s behind"
    return text


def _of_problem(problem: Problem) -> Iterator[str]:
    head = paint(harmless(problem.severity), SEVERITIES.get(problem.severity), bold=True)
    yield f"{head} {harmless(problem.code)}: {harmless(problem.message)}"
    if problem.action:
        yield f"  {harmless(problem.action)}"
    if problem.docs:
        yield paint(f"  see {harmless(problem.docs)}", dim=True)


def _state(node: NodeStats | None) -> str | None:
    return None if node is None else "draining" if node.draining else "serving"


def _version(node: NodeStats | None) -> str | None:
    return None if node is None else node.version
