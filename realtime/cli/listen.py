"""`realtime listen`: what happens on some channels, as it happens.

A client like any other: it comes back by itself and asks for what it missed. Prints JSON lines, or lines
for people where the output is a terminal.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import click
import msgspec

from realtime.causes.sentence import place_of, why
from realtime.errors import RealtimeError
from realtime.waiting.outage import Outage

RETRY_SECONDS = 1.0
# After these the same client may do better the next time.
PASSING = ("unavailable", "internal", "slow_consumer", "rate_limited", "too_many_connections")
COLOURS = {"INSERT": "green", "UPDATE": "yellow", "DELETE": "red"}


class Refused(RealtimeError):
    """The server will not have us: coming back would not help."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


async def listen(url: str, project: str, token: str, channels: Sequence[str]) -> None:
    """Print events until cancelled; raises Refused when the server turns us away."""
    place = _place(url)
    address = f"{url.rstrip('/')}/projects/{quote(project, safe='')}/realtime/ws"
    since: dict[str, str] = {}
    outage = Outage()
    async with aiohttp.ClientSession() as http:
        while True:
            try:
                headers = {"Authorization": f"Bearer {token}"}
                async with http.ws_connect(address, headers=headers, max_msg_size=0) as socket:
                    reason = await _follow(socket, channels, since)
            except aiohttp.WSServerHandshakeError as error:
                if error.status < 500 and error.status != 429:
                    raise Refused(str(error.status), f"{address} is no WebSocket endpoint of ours") from error
                reason = f"{place}: HTTP status {error.status}"
            except (aiohttp.ClientError, OSError, ValueError) as error:
                reason = why(error, place)
            if outage.is_news(reason, asyncio.get_running_loop().time()):
                print(f"{reason}; trying again every {RETRY_SECONDS:.0f} s", file=sys.stderr)
            await asyncio.sleep(RETRY_SECONDS)


def _place(url: str) -> str:
    """Return host and port, without what else may stand in a URL; raises Refused for one that is none."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        name = str(parts.hostname or "").encode("idna").decode()
    except (KeyError, ValueError):
        name = ""
    if not name or re.search(r"[\s@]", url):  # a login beside the token is refused by aiohttp
        what = "what was given" if "@" in url else url
        raise Refused("--url", f"{what} is not an address like https://api.example.com")
    return place_of(name, port)


async def _follow(
    socket: aiohttp.ClientWebSocketResponse, channels: Sequence[str], since: dict[str, str]
) -> str:
    """Print what comes until it ends; return why it ended."""
    for channel in channels:
        request = {"type": "subscribe", "channel": channel}
        if channel in since:
            request["since"] = since[channel]
        await socket.send_str(msgspec.json.encode(request).decode())
    async for frame in socket:
        if frame.type is not aiohttp.WSMsgType.TEXT:
            continue
        message = msgspec.json.decode(frame.data)
        _remember(message, since)
        match message["type"]:
            case "connected" | "unsubscribed" | "pong" | "reconnect":
                pass
            case "subscribed":
                note = "" if message.get("enabled", True) else " (realtime is not enabled on it)"
                print(f"listening to {message['channel']}{note}", file=sys.stderr)
            case "error" if message["code"] in PASSING:
                return f"{message['code']}: {message['message']}"
            case "error":
                raise Refused(message["code"], message["message"])
            case _:
                print_event(message, frame.data)
    return "connection lost"


def _remember(message: dict[str, Any], since: dict[str, str]) -> None:
    place = message.get("id") or message.get("position")
    if place is not None and "channel" in message:
        since[message["channel"]] = place


def print_event(message: dict[str, Any], raw: str) -> None:
    """Print one event: as it came in a pipe, for people on a terminal."""
    if not sys.stdout.isatty():
        print(raw, flush=True)
        return
    if message["type"] != "realtime":
        print(click.style(message["type"], fg="cyan"), raw, flush=True)
        return
    event = click.style(f"{message['event']:6}", fg=COLOURS[message["event"]], bold=True)
    time = click.style(message["commit_timestamp"], dim=True)
    data = msgspec.json.encode(message["data"]).decode()
    print(time, event, f"{message['schema']}.{message['table']}", data, flush=True)
