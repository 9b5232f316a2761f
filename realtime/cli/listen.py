"""`realtime listen`: print the events of some channels as they come.

The command is an ordinary client: it reconnects automatically and asks for missed messages. It prints each
message as the received line of JSON, or as coloured lines on a terminal. It never parses rows and payloads,
so that numbers keep all their digits.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import click
import msgspec
import ujson

from realtime.auth.tokens import DEFAULT_ROLE
from realtime.causes.sentence import why
from realtime.cli.columns import harmless
from realtime.cli.options import (
    config_option,
    project_option,
    server_of_url,
    settings_here,
    token_option,
    url_option,
)
from realtime.cli.output import paint
from realtime.cli.token import issue_token
from realtime.errors import RealtimeError
from realtime.process.run import live
from realtime.waiting.outage import Outage

RETRY_SECONDS = 1.0
# Errors after which the client tries again.
PASSING = ("unavailable", "internal", "slow_consumer", "rate_limited", "too_many_connections")
COLOURS = {"INSERT": "green", "UPDATE": "yellow", "DELETE": "red"}
# The fields of a message that this module reads; the other fields are passed on unchanged.
FIELDS = (
    *("type", "channel", "id", "position", "enabled", "code", "message"),
    *("event", "schema", "table", "commit_timestamp"),
)


class ListenRefused(RealtimeError):
    """The server refuses this client; a reconnect would not help."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return harmless(f"{self.code}: {self.message}")


@click.command()
@config_option
@click.argument("channels", nargs=-1, required=True, metavar="CHANNEL…")
@project_option
@url_option
@token_option
def listen(
    config: Path | None, channels: tuple[str, ...], project: str, url: str, given_token: str | None
) -> None:
    """Print events as they come."""
    token = given_token or issue_token(settings_here(config), project, None, DEFAULT_ROLE, None)
    live(follow(url, project, token, channels))


async def follow(url: str, project: str, token: str, channels: Sequence[str]) -> None:
    """Print events until cancelled; raises ListenRefused if the server refuses this client."""
    server = server_of_url(url)
    address = f"{url.rstrip('/')}/projects/{quote(project, safe='')}/realtime/ws"
    since: dict[str, str] = {}
    outage = Outage()
    async with aiohttp.ClientSession() as http:
        while True:
            try:
                headers = {"Authorization": f"Bearer {token}"}
                async with http.ws_connect(address, headers=headers, max_msg_size=0) as socket:
                    reason = await _print_until_it_ends(socket, channels, since)
            except aiohttp.WSServerHandshakeError as error:
                if error.status < 500 and error.status != 429:
                    raise ListenRefused(
                        str(error.status), f"{address} is no WebSocket endpoint of ours"
                    ) from error
                reason = f"{server}: HTTP status {error.status}"
            except (aiohttp.ClientError, OSError, ValueError) as error:
                reason = why(error, server)
            if outage.is_news(reason, asyncio.get_running_loop().time()):
                print(f"{harmless(reason)}; trying again every {RETRY_SECONDS:.0f} s", file=sys.stderr)
            await asyncio.sleep(RETRY_SECONDS)


async def _print_until_it_ends(
    socket: aiohttp.ClientWebSocketResponse, channels: Sequence[str], since: dict[str, str]
) -> str:
    """Subscribe, and print messages until the connection ends; return why it ended."""
    for channel in channels:
        request = {"type": "subscribe", "channel": channel}
        if channel in since:
            request["since"] = since[channel]
        await socket.send_str(ujson.dumps(request))
    async for frame in socket:
        if frame.type is not aiohttp.WSMsgType.TEXT:
            continue
        message, row = read_message(frame.data)
        _remember(message, since)
        match message["type"]:
            case "connected" | "unsubscribed" | "pong" | "reconnect":
                pass
            case "subscribed":
                note = "" if message.get("enabled", True) else " (realtime is not enabled on it)"
                print(f"listening to {harmless(message['channel'])}{note}", file=sys.stderr)
            case "error" if message["code"] in PASSING:
                return f"{message['code']}: {message['message']}"
            case "error":
                raise ListenRefused(message["code"], message["message"])
            case _:
                print_event(message, row, frame.data)
    return "connection lost"


def read_message(text: str) -> tuple[dict[str, Any], msgspec.Raw]:
    """Return the fields of a message that this module uses, and its row as received."""
    parts = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    fields = {name: ujson.loads(bytes(parts[name])) for name in FIELDS if name in parts}
    return fields, parts.get("data", msgspec.Raw(b"null"))


def _remember(message: dict[str, Any], since: dict[str, str]) -> None:
    position = message.get("id") or message.get("position")
    if position is not None and "channel" in message:
        since[message["channel"]] = position


def print_event(message: dict[str, Any], row: msgspec.Raw, text: str) -> None:
    """Print one event: unchanged to a pipe, formatted for people on a terminal."""
    if not sys.stdout.isatty():
        print(text, flush=True)
        return
    if message["type"] != "realtime":
        print(paint(message["type"], "cyan"), harmless(text), flush=True)
        return
    event = paint(f"{message['event']:6}", COLOURS[message["event"]], bold=True)
    time = paint(message["commit_timestamp"], dim=True)
    table = f"{message['schema']}.{message['table']}"
    columns = msgspec.json.decode(row, type=dict[str, msgspec.Raw] | None)
    shown = msgspec.json.encode(columns).decode()  # without Postgres' spaces between columns
    print(time, event, harmless(table), harmless(shown), flush=True)
