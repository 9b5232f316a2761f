"""The position of one subscription over all connections of its client, and suspects in what it received.

A *segment* begins with an unrecovered `subscribed` or with a `resync`; a recovered `subscribed` continues it.
A suspect becomes a violation unless a new segment of the channel begins within the grace period: a service
that notices a loss late is excused if it announces the loss, which `covered` counts. Pure: time is an
argument.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.chaos.referee import BROKEN, LOSS, OUT_OF_ORDER, WRONG, Referee

GRACE_SECONDS = 10.0
MAX_LISTED = 5  # most rows or people that a sentence names

Difference = tuple[str, str]  # kind of violation and sentence


@dataclass(frozen=True, slots=True)
class Suspect:
    """A suspect event that only a new segment excuses."""

    until: float
    kind: str
    where: str
    what: str


def read_position(text: str) -> tuple[str, int]:
    epoch, _, offset = text.rpartition("-")
    return epoch, int(offset)


class Standing:
    """One subscription; each `now` is a clock that stops while its client does not listen."""

    needs_load = False  # a segment begins with contents of the database
    counted = "deliveries"  # under which name the referee counts its messages
    message_type = "realtime"

    def __init__(self, who: str, channel: str, stream: str, referee: Referee) -> None:
        self.who = who
        self.channel = channel
        self.stream = stream  # the stream of its ids: several channels may be one stream
        self.since: str | None = None  # the last id or position
        self.segment = 0
        self._referee = referee
        self._suspects: list[Suspect] = []
        self._grace = GRACE_SECONDS

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.where}, {len(self._suspects)} suspects>"

    @property
    def where(self) -> str:
        return f"{self.who} {self.channel} segment {self.segment}"

    @property
    def is_suspect(self) -> bool:
        return bool(self._suspects)

    def subscribed(self, position: str, recovered: bool, since: str | None, now: float) -> None:
        """Take the answer to a `subscribe` with `since`."""
        self.judge(now)
        if not recovered:
            self._referee.count("unrecovered" if since else "fresh")
            self._begin(position)
        elif since is None or position != since or since != self.since:
            self._referee.violation(BROKEN, self.where, f"recovered from {position}, asked for {since}")
        else:
            self._referee.count("recoveries")

    def resync(self, position: str, now: float) -> None:
        self.judge(now)
        self._referee.count("resyncs")
        self._begin(position)

    def _begin(self, position: str) -> None:
        self._referee.count("covered", len(self._suspects))
        self.segment += 1
        self.since, self._grace, self._suspects = position, GRACE_SECONDS, []

    def heard(self, message: dict[str, Any], now: float) -> None:
        """Take a message of the channel."""
        raise NotImplementedError

    def _advance(self, id: str, meaning: object, now: float) -> None:
        """Check the id of a message: ids ascend, one by one if the channel carries its whole stream."""
        assert self.since is not None, f"{self!r} hears before it is subscribed"
        (epoch, offset), (last_epoch, last) = read_position(id), read_position(self.since)
        if self._referee.is_new_meaning(self.stream, epoch, offset, meaning):
            self._referee.violation(WRONG, self.where, f"{id} meant something else than {meaning} before")
        if epoch == last_epoch and offset <= last:
            self._referee.violation(OUT_OF_ORDER, self.where, f"{id} after {self.since}: {meaning}")
            return
        if epoch != last_epoch and self._loses_by_new_epoch(last):
            self._suspect(LOSS, f"another epoch without resync: {id} after {self.since}: {meaning}", now)
        elif self._has_hole(offset - (last if epoch == last_epoch else 0)):
            self._suspect(LOSS, f"{id} after {self.since}: {meaning}", now)
        self.since = id

    def _loses_by_new_epoch(self, last: int) -> bool:
        """Tell whether a new epoch without `resync` means a loss after the offset `last` of the old epoch."""
        return last > 0

    def _has_hole(self, step: int) -> bool:
        """Tell whether the step of the offset means a loss."""
        return step > 1

    def judge(self, now: float) -> None:
        """Turn suspects that nothing excused in time into violations."""
        for suspect in self._suspects:
            if suspect.until <= now:
                self._referee.violation(suspect.kind, suspect.where, suspect.what)
        self._suspects = [suspect for suspect in self._suspects if suspect.until > now]

    def _suspect(self, kind: str, what: str, now: float) -> None:
        self._suspects.append(Suspect(now + self._grace, kind, self.where, what))


def listed(kind: str, what: str, who: Iterable[int] | Iterable[str]) -> list[Difference]:
    """Return one difference that names a few of many items; none for no items."""
    some = sorted(who)
    more = f" and {len(some) - MAX_LISTED} more" if len(some) > MAX_LISTED else ""
    return [(kind, f"{what}: {', '.join(map(str, some[:MAX_LISTED]))}{more}")] if some else []
