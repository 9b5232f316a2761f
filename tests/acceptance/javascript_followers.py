"""Clients in a Node program that follow a table: the tokens that they get, and what each of them reported."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.acceptance.node import Event, NodeProgram
from tests.gateway_fixture import token_for


@dataclass
class Tokens:
    """What the application answers when the client asks for a token."""

    seconds: dict[str, float] = field(default_factory=dict)  # how long a follower's token lasts
    troubled: frozenset[str] = frozenset()  # get a newer one only when they ask for the third time
    asked: dict[str, list[str]] = field(default_factory=dict)
    program: NodeProgram | None = None

    def answer(self, event: Event) -> None:
        if event["kind"] != "token":
            return
        who, reason = event["who"], event["value"]["reason"]
        asked = self.asked.setdefault(who, [])
        asked.append(reason)
        refuses = who in self.troubled and len(asked) % 3 != 1
        token = None if refuses else token_for(ttl=self.seconds.get(who, 3_600))
        assert self.program is not None
        self.program.say(number=event["value"]["number"], token=token)


class Followers:
    """The clients of one program, and what each reported."""

    def __init__(self, program: NodeProgram, names: list[str]) -> None:
        self.program = program
        self.names = names

    def events_of(self, who: str, *kinds: str) -> list[Event]:
        return [one for one in self.program.events if one["who"] == who and one["kind"] in kinds]

    def heard(self, who: str) -> list[int | None]:
        return [
            one["value"] if one["kind"] == "change" else None for one in self.events_of(who, "change", "gap")
        ]

    def opened(self, who: str) -> int:
        return len(self.events_of(who, "connected"))

    def statuses(self, who: str, state: str) -> list[Event]:
        return [one for one in self.events_of(who, "status") if one["value"]["state"] == state]

    def reasons(self, who: str) -> Counter[str]:
        return Counter(one["value"]["reason"] for one in self.statuses(who, "waiting"))

    async def subscribed(self, who: str, times: int) -> None:
        def is_subscribed() -> bool:
            return [one["value"]["subscribed"] for one in self.events_of(who, "state")].count(True) >= times

        await self.program.does(is_subscribed)

    async def reach(self, row: int) -> None:
        """Wait until all have heard of a row."""
        for who in self.names:
            await self.program.does(lambda who=who: (self.heard(who) or [0])[-1] == row)

    async def pass_(self, row: int) -> None:
        """Wait until the clients have heard of a row, or of a later one."""
        for who in self.names:
            await self.program.does(lambda who=who: ((self.heard(who) or [0])[-1] or 0) >= row)

    def wake(self, *names: str) -> None:
        """Tell them what a browser tells when the network is back."""
        for who in names:
            self.program.say(who=who, wake="online")
