"""A talker: the part of a client that says numbered things on a channel and notes which were acknowledged.

Nothing is said twice, so that whatever comes twice is the service's doing. Once it is calm it says one thing
more, until that was acknowledged: who hears it has heard all before it.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from tests.chaos.client import Part, RedisSubscription
from tests.chaos.hearing import Talk
from tests.chaos.world import World

PAUSE_SECONDS = (0.01, 0.5)
LAST_SECONDS = 1.0  # between two tries of the last word


class Talker(Part):
    """One client's talk, over all its lines."""

    def __init__(self, name: str, talk: Talk, world: World, dice: Random) -> None:
        self.name = name
        self.has_spoken = False  # the last word is acknowledged
        self._talk = talk
        self._world = world
        self._dice = dice
        self._life = 0  # lines so far
        self._last: set[int] = set()  # numbers of last words

    def __repr__(self) -> str:
        return f"<Talker {self.name} on {self._talk.channel}>"

    async def speak(self, line: RedisSubscription) -> None:
        self._life += 1
        while not self._world.calm.is_set():
            await self._say(line)
            await self._world.pause(self._dice.uniform(*PAUSE_SECONDS))
        while not self.has_spoken:
            self._last.add(await self._say(line))
            await asyncio.sleep(LAST_SECONDS)

    async def _say(self, line: RedisSubscription) -> int:
        number = self._talk.next(self.name)
        payload = {"talker": self.name, "life": self._life, "number": number}
        await line.say(type="broadcast", channel=self._talk.channel, payload=payload, ref=number)
        return number

    def hear(self, message: dict[str, Any]) -> None:
        if message["type"] == "ack":
            self._talk.acknowledge(self.name, message["ref"])
            self.has_spoken = self.has_spoken or message["ref"] in self._last
