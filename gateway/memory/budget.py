"""How much of a node's memory may wait for its clients, and who goes when it is more: rules without I/O.

The keeper counts, and carries out what is decided here. Pieces of frames that several sockets share are
counted once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

# Parts of the budget: pages of history that clients share, what clients said and Redis does not have yet, and
# the states with which they are present. All of it counts, and the rest is for what waits for each of them.
REPLAY_SHARE, SAID_SHARE, PRESENCE_SHARE = 4, 4, 4

PIECE_OVERHEAD = 48  # bytes of a piece beside its text
REFERENCE_BYTES = 8  # of a place in a queue
SLOWEST_RATE = 1.0  # bytes a second that anybody is taken to read, at least

WhoT = TypeVar("WhoT")


@dataclass(frozen=True, slots=True)
class Debtor(Generic[WhoT]):
    """Somebody for whom something waits."""

    who: WhoT
    own_bytes: int  # that nobody else has
    pieces: Collection[bytes] = ()  # that others may have, too
    queued_bytes: int = 0  # of the pieces
    rate: float | None = None  # bytes a second that it took lately; None: it has only just come to wait

    @property
    def bytes(self) -> int:
        return self.own_bytes + self.queued_bytes

    @property
    def seconds(self) -> float:
        """How long it would take to get all of it; for who takes nothing, the longer the more it is."""
        return self.bytes / max(SLOWEST_RATE, self.rate or 0.0)


class Count(Generic[WhoT]):
    """What a node holds for its clients, added up one by one."""

    def __init__(self) -> None:
        self.total = 0
        self.largest = 0  # that waits for one
        self._debtors: list[Debtor[WhoT]] = []
        self._holders: Counter[int] = Counter()  # of each piece, by its identity
        self._pieces: list[bytes] = []  # each of them once: while it is here its identity is nobody else's

    def __repr__(self) -> str:
        return f"<Count of {self.total} bytes, {len(self._debtors)} debtors>"

    def add(self, debtor: Debtor[WhoT]) -> None:
        self._debtors.append(debtor)
        self.largest = max(self.largest, debtor.bytes)
        self.total += debtor.own_bytes + REFERENCE_BYTES * len(debtor.pieces)
        self.add_pieces(debtor.pieces)

    def add_pieces(self, pieces: Iterable[bytes]) -> None:
        """Count pieces, also those that nobody waits for."""
        for piece in pieces:
            key = id(piece)
            if key not in self._holders:
                self._pieces.append(piece)
                self.total += len(piece) + PIECE_OVERHEAD
            self._holders[key] += 1

    def to_close(self, budget: int) -> Iterator[WhoT]:
        """Yield who goes until the rest fits the budget: first who would take longest to get what waits.

        Who has only just come to wait stays: it may be reading, which nobody can tell yet.
        """
        known = [debtor for debtor in self._debtors if debtor.rate is not None]
        for debtor in sorted(known, key=lambda one: one.seconds, reverse=True):
            if self.total <= budget:
                return
            self._remove(debtor)
            yield debtor.who

    def _remove(self, debtor: Debtor[WhoT]) -> None:
        self.total -= debtor.own_bytes + REFERENCE_BYTES * len(debtor.pieces)
        for piece in debtor.pieces:
            self._holders[id(piece)] -= 1
            if not self._holders[id(piece)]:
                self.total -= len(piece) + PIECE_OVERHEAD


class ReadRates(Generic[WhoT]):
    """How fast those read for whom something waits, by what each had taken at the last look."""

    def __init__(self) -> None:
        self._seen: dict[WhoT, tuple[int, float, float | None]] = {}  # taken, when, and the rate until then
        self._next: dict[WhoT, tuple[int, float, float | None]] = {}  # of the look that is under way

    def look(self, who: WhoT, taken_bytes: int, now: float) -> float | None:
        """Return a rate, None at the first look at somebody; a pause of one look makes nobody slow."""
        rate: float | None = None
        if who in self._seen:
            before, at, rate_before = self._seen[who]
            rate = (taken_bytes - before) / max(now - at, 0.001)
            rate = max(rate, (rate_before or 0.0) / 2)
        self._next[who] = (taken_bytes, now, rate)
        return rate

    def forget_others(self) -> None:
        """The look is over: forget those for whom nothing waits any more."""
        self._seen, self._next = self._next, {}
