"""A client that connects, sends messages, disconnects, and reconnects to any node that answers.

What it sends and receives is the business of its part: tables, talk or presence. Its habits are drawn from
the seed. It takes a connection for dead after three heartbeats without a message. This module knows no
channel and judges no message.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

import aiohttp
import msgspec

from tests.chaos.referee import BROKEN, Referee
from tests.chaos.world import World

PROJECT = "demo"
CONNECT_SECONDS = 5.0
SILENT_SECONDS = 6.0  # three heartbeats of the service
PING_SECONDS = 2.0
PONG_SECONDS = 15.0  # a `subscribe` before it may be held for ten
GOODBYE_SECONDS = 2.0
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: a socket that is closed without a WebSocket close sends a reset
PASSING = {"unavailable", "slow_consumer"}  # errors that the service may answer with

decode = msgspec.json.Decoder().decode


class Doors(Protocol):
    """What a client needs of the stage."""

    @property
    def gateway_urls(self) -> list[str]: ...

    def token(self, sub: str, service: bool = False) -> str: ...


class Gone(Exception):
    """The connection has ended, whichever side ended it."""


@dataclass(frozen=True, slots=True)
class Habits:
    """Seconds for which a client is connected and disconnected; how often it leaves without a close."""

    stay: tuple[float, float] = (2.0, 20.0)
    away: tuple[float, float] = (0.0, 2.0)
    long_away: tuple[float, float] = (5.0, 20.0)  # one time in ten
    rude: float = 0.6


class Connection:
    """An open connection, through which the client sends its messages."""

    def __init__(self, web_socket: aiohttp.ClientWebSocketResponse, connection_id: str) -> None:
        self.connection_id = connection_id
        self._web_socket = web_socket

    def __repr__(self) -> str:
        return f"<Connection {self.connection_id}>"

    async def say(self, /, **message: Any) -> None:
        """Send a message; raises Gone if the connection has ended."""
        try:
            async with asyncio.timeout(SILENT_SECONDS):
                await self._web_socket.send_str(msgspec.json.encode(message).decode())
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Gone from error


class Part:
    """What a client sends while it is connected, and how it handles what it receives."""

    name = ""

    def trying(self) -> None:
        """Note that the client wants a connection from now on."""

    async def speak(self, line: Connection) -> None:
        """Send messages while the connection is open; may return early, and may raise Gone."""

    def hear(self, message: dict[str, Any]) -> None:
        raise NotImplementedError

    def closed(self) -> None:
        """Note that the connection has ended."""


class Visitor:
    """A client over all its connections."""

    def __init__(
        self, doors: Doors, world: World, referee: Referee, part: Part, dice: Random, habits: Habits
    ) -> None:
        self.part = part
        self._doors = doors
        self._world = world
        self._referee = referee
        self._dice = dice
        self._habits = habits
        self._node = 0  # the node it used last
        self._stay: asyncio.Timeout | None = None  # while it is connected: until when
        self._answered_at = 0.0  # when the last ping was, loop time

    def __repr__(self) -> str:
        return f"<Visitor {self.part.name}>"

    async def run(self) -> None:
        """Connect and disconnect until cancelled."""
        while True:
            self.part.trying()
            polite = await self._visit()
            self.part.closed()
            await self._world.pause(self._absence(polite))

    def _absence(self, came_in: bool) -> float:
        if not came_in:
            return self._dice.uniform(0.1, 1.0)
        habit = self._habits.long_away if self._dice.random() < 0.1 else self._habits.away
        return self._dice.uniform(*habit)

    async def _visit(self) -> bool:
        """Use one connection until it ends; return False if the client could not connect."""
        connector = aiohttp.TCPConnector(force_close=True, socket_factory=_resetting_socket)
        async with aiohttp.ClientSession(connector=connector) as http:
            try:
                web_socket, connection_id = await self._come_in(http)
            except (aiohttp.ClientError, OSError, TimeoutError, Gone):
                self._referee.count("refused")
                return False
            self._referee.count("connections")
            await self._dwell(web_socket, Connection(web_socket, connection_id))
            if self._dice.random() > self._habits.rude:
                await web_socket.close()
        await web_socket.close()  # the client sends nothing any more
        return True

    async def _come_in(self, http: aiohttp.ClientSession) -> tuple[aiohttp.ClientWebSocketResponse, str]:
        urls = self._doors.gateway_urls
        self._node = self._dice.randrange(len(urls))
        address = (
            f"{urls[self._node]}/projects/{PROJECT}/realtime/ws?token={self._doors.token(self.part.name)}"
        )
        patience = aiohttp.ClientWSTimeout(ws_close=GOODBYE_SECONDS)
        async with asyncio.timeout(CONNECT_SECONDS):
            web_socket = await http.ws_connect(address, max_msg_size=0, timeout=patience)
            greeting = await self._receive(web_socket)
        if greeting["type"] != "connected":
            raise Gone(greeting)
        return web_socket, greeting["connection_id"]

    async def _dwell(self, web_socket: aiohttp.ClientWebSocketResponse, line: Connection) -> None:
        self._answered_at = asyncio.get_running_loop().time()
        stay = None if self._world.calm.is_set() else self._dice.uniform(*self._habits.stay)
        with suppress(TimeoutError):
            async with asyncio.timeout(stay) as self._stay:
                await self._converse(web_socket, line)
        self._stay = None

    async def _converse(self, web_socket: aiohttp.ClientWebSocketResponse, line: Connection) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen(web_socket), name=f"{self.part.name} listens")
                tasks.create_task(self._ping(line), name=f"{self.part.name} pings")
                tasks.create_task(self.part.speak(line), name=f"{self.part.name} speaks")
        except* Gone:
            pass

    async def _listen(self, web_socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            message = await self._receive(web_socket)
            match message["type"]:
                case "pong":
                    self._answered_at = asyncio.get_running_loop().time()
                case "reconnect":
                    self._leave_within(message["after_ms"] / 1000)
                case "error" if message["code"] not in PASSING:
                    self._referee.violation(BROKEN, self.part.name, f"an error that is none: {message}")
                case _:
                    self.part.hear(message)

    def _leave_within(self, seconds: float) -> None:
        """Follow a `reconnect`: leave before its deadline, or when the service closes."""
        if self._dice.random() < 0.5:
            self._stay_until(asyncio.get_running_loop().time() + self._dice.uniform(0, seconds))

    async def _receive(self, web_socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
        """Return the next message; raises Gone if there will be none."""
        try:
            # A ping of the service, which aiohttp answers, counts as a sign of life here.
            frame = await web_socket.receive(timeout=SILENT_SECONDS)
        except TimeoutError as error:
            self._referee.count("dead")
            raise Gone from error
        if frame.type is not aiohttp.WSMsgType.TEXT:
            raise Gone(frame)
        message: dict[str, Any] = decode(frame.data)
        return message

    async def _ping(self, line: Connection) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() - self._answered_at < PONG_SECONDS:
            await line.say(type="ping")
            await asyncio.sleep(PING_SECONDS)
        self._referee.count("dead")
        raise Gone

    def return_now(self) -> None:
        """Disconnect and reconnect at once."""
        self._stay_until(asyncio.get_running_loop().time())

    def stay(self) -> None:
        """Stay connected from now on."""
        self._stay_until(None)

    def _stay_until(self, time: float | None) -> None:
        if self._stay is not None and not self._stay.expired():
            self._stay.reschedule(time)


def _resetting_socket(address: Any) -> socket.socket:
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    return made
