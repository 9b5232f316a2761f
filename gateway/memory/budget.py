"""Rules, without I/O: how many bytes of a node may wait for its clients, and which clients to close first.

The memory guard counts the bytes, and closes the clients chosen here. Pieces of frames that several sockets
share are counted once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

# Divisors of the budget (4: a quarter) for pages of history that clients share, for broadcasts that Redis
# does not have yet, and for presence states. All of them count; the rest is for what waits for each client.
REPLAY_SHARE, PUBLISH_SHARE, PRESENCE_SHARE = 4, 4, 4

PIECE_OVERHEAD = 48  # bytes of a piece, beside its text
REFERENCE_BYTES = 8  # bytes of a reference in a queue
SLOWEST_RATE = 1.0  # bytes a second that every client is assumed to read, at least

WhoT = TypeVar("WhoT")


@dataclass(frozen=True, slots=True)
class Debtor(Generic[WhoT]):
    """A client or answer for which bytes wait."""

    who: WhoT
    own_bytes: int  # that are not shared
    pieces: Collection[bytes] = ()  # that others may share
    queued_bytes: int = 0  # of the pieces
    rate: float | None = None  # bytes a second that it took lately; None: not known yet

    @property
    def bytes(self) -> int:
        return self.own_bytes + self.queued_bytes

    @property
    def seconds(self) -> float:
        """Time to read all waiting bytes; for a client that reads nothing, it grows with these bytes."""
        return self.bytes / max(SLOWEST_RATE, self.rate or 0.0)


class Count(Generic[WhoT]):
    """The sum of what a node holds for its clients."""

    def __init__(self) -> None:
        self.total = 0
        self.largest = 0  # bytes that wait for one client
        self._debtors: list[Debtor[WhoT]] = []
        self._holders: Counter[int] = Counter()  # number of holders of each piece, by its identity
        self._pieces: list[bytes] = []  # each once; while a piece is here, its identity stays unique

    def __repr__(self) -> str:
        return f"<Count of {self.total} bytes, {len(self._debtors)} debtors>"

    def add(self, debtor: Debtor[WhoT]) -> None:
        self._debtors.append(debtor)
        self.largest = max(self.largest, debtor.bytes)
        self.total += debtor.own_bytes + REFERENCE_BYTES * len(debtor.pieces)
        self.add_pieces(debtor.pieces)

    def add_pieces(self, pieces: Iterable[bytes]) -> None:
        """Count pieces, including pieces that no client waits for."""
        for piece in pieces:
            key = id(piece)
            if key not in self._holders:
                self._pieces.append(piece)
                self.total += len(piece) + PIECE_OVERHEAD
            self._holders[key] += 1

    def to_close(self, budget: int) -> Iterator[WhoT]:
        """Yield whom to close until the rest fits the budget: first those that would take longest to read.

        A debtor without a known rate is not closed: it may be reading.
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
    """Read rates of clients for which bytes wait, from what each had taken at the last check."""

    def __init__(self) -> None:
        self._seen: dict[WhoT, tuple[int, float, float | None]] = {}  # bytes taken, time, rate at a check
        self._next: dict[WhoT, tuple[int, float, float | None]] = {}  # of the check in progress

    def look(self, who: WhoT, taken_bytes: int, now: float) -> float | None:
        """Return a rate, None at a client's first check; a pause of one check only halves the rate."""
        rate: float | None = None
        if who in self._seen:
            before, at, rate_before = self._seen[who]
            rate = (taken_bytes - before) / max(now - at, 0.001)
            rate = max(rate, (rate_before or 0.0) / 2)
        self._next[who] = (taken_bytes, now, rate)
        return rate

    def forget_others(self) -> None:
        """End a check: forget clients for which no bytes wait any more."""
        self._seen, self._next = self._next, {}
