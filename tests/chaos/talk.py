"""A talker: the part of a client that publishes numbered messages and notes which were acknowledged.

It publishes no message twice, so that a duplicate is a defect of the service. Once the load is calm, it
publishes one more message until it is acknowledged: a listener that receives this message has received all
earlier ones.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from tests.chaos.client import Connection, Part
from tests.chaos.hearing import Talk
from tests.chaos.world import World

PAUSE_SECONDS = (0.01, 0.5)
LAST_SECONDS = 1.0  # between two attempts to publish the last message


class Talker(Part):
    """One client's talk over all its connections."""

    def __init__(self, name: str, talk: Talk, world: World, dice: Random) -> None:
        self.name = name
        self.has_spoken = False  # the last message is acknowledged
        self._talk = talk
        self._world = world
        self._dice = dice
        self._life = 0  # connections so far
        self._last: set[int] = set()  # numbers of last messages

    def __repr__(self) -> str:
        return f"<Talker {self.name} on {self._talk.channel}>"

    async def speak(self, line: Connection) -> None:
        self._life += 1
        while not self._world.calm.is_set():
            await self._say(line)
            await self._world.pause(self._dice.uniform(*PAUSE_SECONDS))
        while not self.has_spoken:
            self._last.add(await self._say(line))
            await asyncio.sleep(LAST_SECONDS)

    async def _say(self, line: Connection) -> int:
        number = self._talk.next(self.name)
        payload = {"talker": self.name, "life": self._life, "number": number}
        await line.say(type="broadcast", channel=self._talk.channel, payload=payload, ref=number)
        return number

    def hear(self, message: dict[str, Any]) -> None:
        if message["type"] == "ack":
            self._talk.acknowledge(self.name, message["ref"])
            self.has_spoken = self.has_spoken or message["ref"] in self._last
