"""A person: the part of a client that is present under a channel, changes its state, leaves and joins again.

`entry` is the state that the service acknowledged on the open connection: at the end every watcher must know
exactly this state. Once the load is calm, it sends its state until the service acknowledges it, and stays.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random
from typing import Any

from tests.chaos.client import Connection, Part
from tests.chaos.world import World

PAUSE_SECONDS = (0.1, 3.0)
ANSWER_SECONDS = 2.0  # to wait for an acknowledgement before the message is sent again
GOES = 0.2  # how often a person sends a leave, and joins again on the same connection


class Person(Part):
    """One client's presence over all its connections; `channel` None means the project."""

    def __init__(self, name: str, channel: str | None, world: World, dice: Random) -> None:
        self.name = name
        self.channel = channel
        self.entry: tuple[str, Any] | None = None  # connection and state
        self.is_settled = False  # the service acknowledged the state after calm began
        self._world = world
        self._dice = dice
        self._said = 0
        self._answers: dict[int, asyncio.Event] = {}  # acknowledgements waited for, by `ref`

    def __repr__(self) -> str:
        return f"<Person {self.name} in {self.channel}: {self.entry}>"

    async def speak(self, line: Connection) -> None:
        while not self._world.calm.is_set():
            await self._state(line, is_there=self._dice.random() > GOES)
            await self._world.pause(self._dice.uniform(*PAUSE_SECONDS))
        while not await self._state(line, is_there=True):
            pass
        self.is_settled = True

    async def _state(self, line: Connection, is_there: bool) -> bool:
        """Send the state; return whether it was acknowledged in time."""
        self._said += 1
        number, state = self._said, {"number": self._said} if is_there else None
        answered = self._answers[number] = asyncio.Event()
        scope = {} if self.channel is None else {"channel": self.channel}
        await line.say(type="presence", state=state, ref=number, **scope)
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                await answered.wait()
        self._answers.pop(number, None)
        if answered.is_set():
            self.entry = (line.connection_id, state) if is_there else None
        return answered.is_set()

    def hear(self, message: dict[str, Any]) -> None:
        if message["type"] == "ack" and (answered := self._answers.get(message["ref"])):
            answered.set()

    def closed(self) -> None:
        self.entry, self.is_settled = None, False
        self._answers.clear()
