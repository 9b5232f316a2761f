"""`realtime send` and `presence`: a broadcast from the command line, and who is present."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec

from realtime.cli.columns import harmless, table
from realtime.cli.output import print_answer, print_lines, terminal_width, tinted
from realtime.cli.rest import Service, service_command

STDIN = "-"


class Accepted(msgspec.Struct):
    accepted: int


class Entry(msgspec.Struct):
    connection_id: str
    user_id: str | None
    state: msgspec.Raw
    joined_at: str
    updated_at: str


class Present(msgspec.Struct):
    count: int
    presences: list[Entry]


def _json(context: click.Context, argument: click.Parameter, value: str) -> msgspec.Raw:
    """Return JSON text as it was given, so that numbers keep all their digits."""
    raw = sys.stdin.buffer.read() if value == STDIN else value.encode(errors="surrogateescape")
    try:
        msgspec.json.decode(raw.decode(), type=msgspec.Raw)
        return msgspec.Raw(raw.strip())
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"this is no JSON: {error}", context, argument) from error


@click.command()
@service_command
@click.argument("channel")
@click.argument("payload", metavar="JSON", callback=_json)
def send(service: Service, channel: str, payload: msgspec.Raw) -> None:
    """Send a broadcast to a channel; JSON is the payload, and - reads it from standard input."""
    body: dict[str, Any] = {"channel": channel, "payload": payload}
    answer, _ = service.post("/broadcast", body, Accepted)
    if service.as_json:
        return print_answer(answer)
    print_lines([f"sent to {harmless(channel)}"])


@click.command()
@service_command
@click.argument("channel", required=False)
def presence(service: Service, channel: str | None) -> None:
    """Print who is present in a project, or on a channel, over all nodes."""
    answer, decoded = service.get("/presence", Present, channel=channel)
    if service.as_json:
        return print_answer(answer)
    if not decoded.presences:
        return print_lines(["nobody is present"])
    rows = [
        (one.user_id, bytes(one.state).decode(), one.joined_at[:19].replace("T", " "), one.connection_id)
        for one in decoded.presences
    ]
    print_lines(table(("user", "state", "since", "connection"), rows, terminal_width(), paint=tinted))
