"""`realtime clients` and `disconnect`: who is connected to a project on all nodes, and to end connections."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from realtime.cli.columns import harmless, table
from realtime.cli.output import paint, print_answer, print_lines, terminal_width, tinted
from realtime.cli.rest import Rest, Service, ServiceAway, service_command

PAGE = 1_000  # clients in one answer: the most that the service gives


class Client(msgspec.Struct):
    connection_id: str
    user_id: str | None = None
    role: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    node: str | None = None
    connected_at: str | None = None
    expires_at: str | None = None
    subscriptions: list[str] = []
    subscription_count: int | None = None
    queue_bytes: int | None = None
    messages_in: int | None = None
    messages_out: int | None = None


class Page(msgspec.Struct):
    """Clients; `missing` are the nodes that did not answer in time."""

    clients: list[msgspec.Raw]
    next: str | None = None
    missing: list[str] = []


class Disconnected(msgspec.Struct):
    disconnected: int
    missing: list[str] = []


@click.command()
@service_command
@click.option("--user", help="Only the connections of this user.")
@click.option("--node", help="Only the connections to this node.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many; by default all.")
def clients(service: Service, user: str | None, node: str | None, limit: int | None) -> None:
    """Print who is connected to a project, on all nodes."""

    async def asked(rest: Rest) -> tuple[Page, list[Client]]:
        page = await _pages(rest, limit, {"user_id": user, "node": node})
        return page, [rest.read(bytes(raw), Client) for raw in ([] if service.as_json else page.clients)]

    page, people = service.ask(asked)
    if service.as_json:
        return print_answer(msgspec.json.encode(page))
    rows = [_row(one) for one in people]
    print_lines(table(HEADINGS, rows, terminal_width(), paint=tinted) if rows else ["no client is connected"])
    if page.next is not None:
        print_lines([f"these are the first {len(people)}; there are more"])
    print_lines(_of_missing(page.missing))


async def _pages(rest: Rest, limit: int | None, query: dict[str, str | None]) -> Page:
    """Read page after page, until there is none or there are enough."""
    found = Page([])
    while True:
        left = PAGE if limit is None else min(PAGE, limit - len(found.clients))
        answer = rest.read(await rest.get("/clients", limit=left, after=found.next, **query), Page)
        if answer.next is not None and answer.next == found.next:
            raise ServiceAway("the service gives the same page of clients again")
        found.clients += answer.clients
        missing = sorted({*found.missing, *answer.missing})
        found = Page(found.clients, answer.next, missing)
        if found.next is None or (limit is not None and len(found.clients) >= limit):
            return found


HEADINGS = (
    *("connection", "user", "connected", "address", "channels", "node", "role"),
    *("queued", "in", "out", "program"),
)


def _row(one: Client) -> tuple[str | int | None, ...]:
    since = one.connected_at and one.connected_at[:19].replace("T", " ")
    channels = len(one.subscriptions) if one.subscription_count is None else one.subscription_count
    who = (one.connection_id, one.user_id, since, one.ip)
    return (
        *who,
        channels,
        one.node,
        one.role,
        one.queue_bytes,
        one.messages_in,
        one.messages_out,
        one.user_agent,
    )


@click.command()
@service_command
@click.option("--user", help="All connections of this user.")
@click.option("--connection", help="The connection with this id.")
@click.option("--reconnect", is_flag=True, help="Let the clients come back by themselves.")
def disconnect(service: Service, user: str | None, connection: str | None, reconnect: bool) -> None:
    """End connections on whatever node they are."""
    if (user is None) == (connection is None):
        raise click.UsageError("name either --user or --connection")
    body: dict[str, Any] = {"user_id": user, "connection_id": connection, "reconnect": reconnect or None}
    answer, decoded = service.post("/disconnect", body, Disconnected)
    if service.as_json:
        return print_answer(answer)
    connections = "connection" if decoded.disconnected == 1 else "connections"
    print_lines([f"disconnected {decoded.disconnected} {connections}", *_of_missing(decoded.missing)])


def _of_missing(nodes: list[str]) -> list[str]:
    """Return a line that names the nodes whose clients are not in an answer."""
    if not nodes:
        return []
    return [
        paint(f"no answer in time from {harmless(', '.join(nodes))}: its clients are not counted", "yellow")
    ]
