"""Check what a listener received of the talk on a channel against what was said: pure.

Each talker numbers its messages. Each listener whose segment began before a message was said must receive it
if Redis acknowledged it, and may receive it at most once if Redis did not. When a listener receives number n,
all acknowledged messages before n must have arrived: a missing one is suspect, and a violation after the
grace period.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from tests.chaos.referee import DUPLICATE, LOSS, OUT_OF_ORDER, Referee
from tests.chaos.standing import Difference, Standing, listed

Utterance = tuple[str, int]  # talker and number


class Talk:
    """The messages of all talkers on a channel."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.latest: dict[str, int] = {}  # number of each talker's last message
        self.acknowledged: set[Utterance] = set()
        self.is_divided = False  # two primaries answer, of which one will lose what it acknowledges

    def __repr__(self) -> str:
        return f"<Talk on {self.channel}: {len(self.acknowledged)} acknowledged>"

    def next(self, talker: str) -> int:
        """Return the number of the talker's next message."""
        self.latest[talker] = number = self.latest.get(talker, 0) + 1
        return number

    def acknowledge(self, talker: str, number: int) -> None:
        if not self.is_divided:
            self.acknowledged.add((talker, number))


class Hearing(Standing):
    """One subscription of a channel on which talkers publish."""

    counted = "broadcasts"
    message_type = "broadcast"

    def __init__(self, who: str, talk: Talk, referee: Referee) -> None:
        super().__init__(who, talk.channel, talk.channel, referee)
        self._talk = talk
        self._heard: set[Utterance] = set()  # in all segments, since no message may arrive twice
        self._floor: dict[str, int] = {}  # by talker: the last number before the segment began
        self._high: dict[str, int] = {}  # by talker: the highest number heard in the segment, or the floor
        self._last_of_life: dict[tuple[str, int], int] = {}  # number heard last from a talker's connection
        self._gaps: dict[Utterance, float] = {}  # missing messages, and until when each is excused

    def _begin(self, position: str) -> None:
        super()._begin(position)
        self._floor, self._high, self._gaps = dict(self._talk.latest), dict(self._talk.latest), {}

    def _loses_by_new_epoch(self, last: int) -> bool:
        return False  # Redis may forget an idle topic; a loss shows in the talkers' numbers

    def heard(self, message: dict[str, Any], now: float) -> None:
        talker, life, number = (message["payload"][name] for name in ("talker", "life", "number"))
        self._advance(message["id"], (talker, number), now)
        if (talker, number) in self._heard:
            self._referee.violation(DUPLICATE, self.where, f"{talker}'s number {number} again: {message}")
        last = self._last_of_life.get((talker, life), 0)
        if number < last:
            self._referee.violation(OUT_OF_ORDER, self.where, f"{talker}'s number {number} after {last}")
        self._heard.add((talker, number))
        self._last_of_life[talker, life] = max(number, last)
        self._gaps.pop((talker, number), None)
        high = self._high.get(talker, 0)
        for passed in range(high + 1, number):
            self._gaps[talker, passed] = now + self._grace
        self._high[talker] = max(high, number)

    def judge(self, now: float) -> None:
        super().judge(now)
        due = [utterance for utterance, until in self._gaps.items() if until <= now]
        for utterance in due:
            del self._gaps[utterance]
            if utterance in self._talk.acknowledged:
                talker, number = utterance
                self._referee.violation(LOSS, self.where, f"{talker}'s number {number} was passed over")

    def differences(self) -> list[Difference]:
        """Return the messages that the listener missed; call it when no talker publishes any more."""
        missing: dict[str, set[int]] = defaultdict(set)
        for talker, number in self._talk.acknowledged - self._heard:
            if number > self._floor.get(talker, 0):
                missing[talker].add(number)
        return [one for talker, them in missing.items() for one in listed(LOSS, f"numbers of {talker}", them)]
