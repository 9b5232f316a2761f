"""Clients and writers that go on whatever happens: what each heard and wrote is the evidence.

A follower does what the contract asks: it stays until it is told to go, and comes back with `since`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import asyncpg

from tests.gateway_fixture import CLOSED, Client, token_for

LAST = "the last change"
PACE_SECONDS = 0.02  # between two changes of a writer


@dataclass
class Follower:
    """Follows `messages` over its nodes, in this order and round again, until the last change came."""

    urls: Sequence[str]
    heard: list[str] = field(default_factory=list)  # the body in each change, in order
    came_back: list[bool] = field(default_factory=list)  # what `recovered` said each time
    resyncs: list[int] = field(default_factory=list)  # how much it had heard when each came
    arrivals: int = 0  # sockets that let it in
    since: str | None = None  # None: not subscribed so far

    async def follow(self) -> None:
        async with aiohttp.ClientSession() as http:
            for url in itertools.cycle(self.urls):
                address = f"{url}/projects/demo/realtime/ws?token={token_for()}"
                # A node that is away: the next one.
                with suppress(aiohttp.ClientConnectionError):
                    async with http.ws_connect(address, max_msg_size=0) as web_socket:
                        if await self._listen(Client(web_socket)):
                            return

    async def _listen(self, client: Client) -> bool:
        """Hear until it is time to go elsewhere; True when the last change came."""
        clock = asyncio.get_running_loop()
        with suppress(TimeoutError):
            async with asyncio.timeout(None) as stay:
                while (frame := await client.web_socket.receive()).type not in CLOSED:
                    message = json.loads(frame.data)
                    match message["type"]:
                        case "connected":
                            self.arrivals += 1
                            more = {} if self.since is None else {"since": self.since}
                            await client.say(type="subscribe", channel="table:messages", **more)
                        case "reconnect":
                            stay.reschedule(clock.time() + message["after_ms"] / 1000)
                        case "error":
                            assert message["code"] == "unavailable", message
                            return False
                        case _:
                            self._hear(message)
                            if self.heard[-1:] == [LAST]:
                                return True
        return False

    def _hear(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "subscribed":
                if self.since is not None:
                    self.came_back.append(message["recovered"])
                self.since = message["position"]
            case "resync":
                self.resyncs.append(len(self.heard))
                self.since = message["position"]
            case "realtime":
                self.heard.append(message["data"]["body"])
                self.since = message["id"]
            case _:
                raise AssertionError(message)


@dataclass
class Writer:
    """Inserts rows and updates them, one change after the other, each with a body of its own."""

    name: str
    written: list[str] = field(default_factory=list)  # committed, in this order
    stopped: bool = False

    async def write(self, database_url: str) -> None:
        """Write until it is stopped; a change that is refused, or takes very long, ends the test."""
        connection = await asyncpg.connect(database_url, command_timeout=30)
        try:
            while not self.stopped:
                insert = "insert into messages (body) values ($1) returning id"
                row = await connection.fetchval(insert, self._next_body())
                self.written.append(self._next_body())
                update = "update messages set body = $2 where id = $1"
                await connection.execute(update, row, self._next_body())
                self.written.append(self._next_body())
                await asyncio.sleep(PACE_SECONDS)
        finally:
            await connection.close(timeout=30)

    def _next_body(self) -> str:
        return f"{self.name} {len(self.written)}"

    def mine(self, bodies: list[str]) -> list[str]:
        """Those of the bodies that are this writer's."""
        return [body for body in bodies if body.startswith(f"{self.name} ")]


async def finish(database_url: str, writers: list[Writer], writing: list[asyncio.Task[None]]) -> None:
    """Let the writers end, and make the change that everybody waits for."""
    for writer in writers:
        writer.stopped = True
    await asyncio.gather(*writing)
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("insert into messages (body) values ($1)", LAST)
    finally:
        await connection.close(timeout=30)


def expect_everything_once(followers: list[Follower], writers: list[Writer]) -> None:
    """Each heard every change once, in the one order that all heard, and each writer's in its own."""
    (first, *others) = followers
    for other in others:
        assert other.heard == first.heard
    assert len(first.heard) == sum(len(writer.written) for writer in writers) + 1
    for writer in writers:
        assert writer.mine(first.heard) == writer.written
