"""The part of a client that subscribes: to tables, to talk, to presence.

Messages of the client's connection go to standings, one for each channel, which check them; `since` is the
last position of a standing. A standing that begins with the contents of a table gets them from the ledger,
and again if a restore of the database falls into the load. It sends `subscribe` only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.chaos.client import Connection, Part
from tests.chaos.ledger import Ledger
from tests.chaos.mirror import TORN_SECONDS, Replica
from tests.chaos.referee import BROKEN, Referee
from tests.chaos.standing import Standing
from tests.chaos.world import World

AGAIN_SECONDS = 0.5  # after a `subscribe` that was `unavailable`
JUDGE_SECONDS = 1.0


class Subscriber(Part):
    """One client's subscriptions over all its connections."""

    def __init__(
        self, name: str, standings: Sequence[Standing], ledger: Ledger, world: World, referee: Referee
    ) -> None:
        self.name = name
        self.standings = {standing.channel: standing for standing in standings}
        self.lines = 0  # connections so far
        self.unrecovered: set[str] = set()  # channels that did not resume on this connection
        self._ledger = ledger
        self._world = world
        self._referee = referee
        self._wanted: asyncio.Queue[str] = asyncio.Queue()  # channels to subscribe to on this connection
        self._asked: dict[str, str | None] = {}  # subscribes without an answer: `since` by channel
        self._joined: set[str] = set()  # channels that are subscribed on this connection
        self._joined_at: float | None = None  # loop time since which all channels are subscribed
        self._listened = 0.0  # seconds with all channels, on earlier connections
        self._to_load: dict[str, int] = {}  # channels to load, and the number of restores before each
        self._load_wanted = asyncio.Event()
        self._quiet_since: float | None = None  # loop time; None while it is disconnected

    def __repr__(self) -> str:
        return f"<Subscriber {self.name}, {len(self._joined)} of {len(self.standings)} joined>"

    @property
    def replicas(self) -> list[Replica]:
        return [standing for standing in self.standings.values() if isinstance(standing, Replica)]

    @property
    def listened(self) -> float:
        """Return a clock in seconds that stops while a channel is not subscribed."""
        more = 0.0 if self._joined_at is None else _now() - self._joined_at
        return self._listened + more

    @property
    def is_joined(self) -> bool:
        return self._joined_at is not None

    def trying(self) -> None:
        self._quiet_since = _now()

    async def speak(self, line: Connection) -> None:
        self.lines += 1
        self.unrecovered.clear()
        # Of this connection, which may have ended when the subscriber retries.
        wanted = self._wanted = asyncio.Queue(len(self.standings))
        for channel in self.standings:
            wanted.put_nowait(channel)
        while True:
            channel = await wanted.get()
            since = self._asked[channel] = self.standings[channel].since
            await line.say(type="subscribe", channel=channel, **({} if since is None else {"since": since}))

    def closed(self) -> None:
        self._listened, self._joined_at = self.listened, None
        self._joined.clear()
        self._asked.clear()
        self._end_silence()
        self._quiet_since = None

    def hear(self, message: dict[str, Any]) -> None:
        standing = self.standings.get(message.get("channel", ""))
        if standing is None:
            return  # an error of the whole connection, which the service then closes
        is_joined = standing.channel in self._joined
        match message["type"]:
            case "subscribed" if standing.channel in self._asked:
                self._subscribed(standing, message)
            case "error":
                self._ask_again(standing.channel)
            case "resync" if is_joined:
                self._end_silence()
                standing.resync(message["position"], self.listened)
                self._want_load(standing)
            case kind if kind == standing.message_type and is_joined:
                self._referee.count(standing.counted)
                self._end_silence()
                standing.heard(message, self.listened)
            case _:
                self._referee.violation(BROKEN, standing.where, f"out of place: {message}")

    def _subscribed(self, standing: Standing, message: dict[str, Any]) -> None:
        since = self._asked.pop(standing.channel)
        self._joined.add(standing.channel)
        standing.subscribed(message["position"], message["recovered"], since, self.listened)
        if not message["recovered"]:
            self.unrecovered.add(standing.channel)
            self._want_load(standing)
        if len(self._joined) == len(self.standings):
            self._joined_at = _now()

    def _ask_again(self, channel: str) -> None:
        self._asked.pop(channel, None)
        asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._wanted.put_nowait, channel)

    def _end_silence(self) -> None:
        if self._quiet_since is None:
            return
        if self.replicas and not self._world.calm.is_set():
            self._referee.was_silent(_now() - self._quiet_since, self.name)
        self._quiet_since = _now()

    def _want_load(self, standing: Standing) -> None:
        if standing.needs_load:
            self._to_load[standing.channel] = self._world.restores
            self._load_wanted.set()

    async def keep_loaded(self) -> None:
        """Load the contents of tables at the begin of segments, until cancelled."""
        while True:
            await self._load_wanted.wait()
            self._load_wanted.clear()
            while self._to_load:
                channel, restores = next(iter(self._to_load.items()))
                replica = self.standings[channel]
                assert isinstance(replica, Replica)
                await self._load(replica, restores)

    async def _load(self, replica: Replica, restores: int) -> None:
        segment = replica.segment
        truth = await self._ledger.read(replica.table)
        # Another segment may have begun meanwhile, which needs its own load.
        if replica.segment == segment:
            del self._to_load[replica.channel]
            replica.load(truth, self.listened, self._is_torn(restores))

    def _is_torn(self, restores: int) -> bool:
        """Tell whether messages may be older than a restore while the load is newer."""
        recent = _now() - self._world.restored_at < TORN_SECONDS
        return restores != self._world.restores or recent

    async def keep_judging(self) -> None:
        """Judge suspects at intervals, until cancelled."""
        while True:
            await asyncio.sleep(JUDGE_SECONDS)
            self.judge()

    def judge(self, mercy: bool = True) -> None:
        """Judge the suspects whose grace period is over; without mercy, all suspects."""
        for standing in self.standings.values():
            standing.judge(self.listened if mercy else float("inf"))


def _now() -> float:
    return asyncio.get_running_loop().time()
