"""Check what a subscription received of a table against what it may receive: pure, time is an argument.

At the begin of a segment (see `standing`) the table is loaded by SQL, while messages wait. After that each
row must get its versions one by one; a version that is part of the load may arrive once more. If a restore of
the database falls between begin and load, the messages may belong to an older state than the load: then the
grace is TORN_SECONDS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.chaos.referee import DUPLICATE, LOSS, OUT_OF_ORDER, PHANTOM, WRONG, Referee
from tests.chaos.standing import GRACE_SECONDS, Difference, Standing, listed

TORN_SECONDS = 30.0  # the longest takeover of the notifier, and some more
MAX_HELD = 200_000  # messages that wait for a load
BEYOND = 2**62  # version of a row that was deleted before the load: no later version can arrive


@dataclass(frozen=True, slots=True)
class Truth:
    """The contents of a table: version and note by id, and the ids of the deleted rows."""

    rows: dict[int, tuple[int, str]]
    dead: frozenset[int]


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a row in a `realtime` message."""

    event: str
    id: int
    version: int
    note: str
    old: tuple[int, str] | None = None  # version and note

    def __str__(self) -> str:
        return f"{self.event} of row {self.id} version {self.version} ({self.note:.40})"


@dataclass(slots=True)
class Row:
    """The last received state of a row; `first` is the first version that arrived in this segment, or 0."""

    version: int
    note: str
    first: int = 0
    loaded: int = 0  # version in the load; BEYOND if the load has it as deleted
    loaded_note: str = ""


def read_change(message: dict[str, Any]) -> Change:
    data, old = message["data"], message["old"]
    before = (old["version"], old["note"]) if old else None
    return Change(message["event"], data["id"], data["version"], data["note"], before)


class Replica(Standing):
    """One subscription of a table, checked against the contents of the table at the begin of the segment."""

    needs_load = True

    def __init__(self, who: str, channel: str, referee: Referee) -> None:
        self.table = channel.split(":")[1].removeprefix("public.")
        super().__init__(who, channel, self.table, referee)
        self.is_loaded = False  # this segment's load has arrived
        self._held: list[Change] = []  # messages that arrived before the load

    def _begin(self, position: str) -> None:
        super()._begin(position)
        self.is_loaded, self._held = False, []

    def heard(self, message: dict[str, Any], now: float) -> None:
        change = read_change(message)
        self._advance(message["id"], change, now)
        if self.is_loaded:
            self._apply(change, now)
        else:
            assert len(self._held) < MAX_HELD, f"{self!r} cannot load"
            self._held.append(change)

    def load(self, truth: Truth, now: float, torn: bool = False) -> None:
        """Begin with the contents of the table; `torn`: a restore fell between begin and load."""
        self.is_loaded = True
        self._grace = TORN_SECONDS if torn else GRACE_SECONDS
        self._begin_with(truth)
        held, self._held = self._held, []
        for change in held:
            self._apply(change, now)

    def _begin_with(self, truth: Truth) -> None:
        raise NotImplementedError

    def _apply(self, change: Change, now: float) -> None:
        raise NotImplementedError

    def differences(self, truth: Truth) -> list[Difference]:
        """Return kind and sentence of each difference to the truth; call it when nothing changes any more."""
        raise NotImplementedError


class Mirror(Replica):
    """A copy of the table, made from all its changes."""

    def __init__(self, who: str, channel: str, referee: Referee) -> None:
        super().__init__(who, channel, referee)
        self._rows: dict[int, Row] = {}
        self._dead: frozenset[int] = frozenset()  # when the table was loaded
        self._buried: set[int] = set()  # rows whose DELETE arrived in this segment
        self._passed: set[tuple[int, int]] = set()  # versions that have not arrived, while later ones have

    def _begin_with(self, truth: Truth) -> None:
        self._rows = {
            id: Row(version, note, loaded=version, loaded_note=note)
            for id, (version, note) in truth.rows.items()
        }
        self._dead, self._buried, self._passed = truth.dead, set(), set()

    def _apply(self, change: Change, now: float) -> None:
        row = self._rows.get(change.id)
        if row is None and change.id in self._buried:
            self._late(change, now, "its DELETE came before")
            return
        if row is None:
            dead = change.id in self._dead
            row = self._rows[change.id] = Row(0, "", loaded=BEYOND if dead else 0)
        if self._is_due(row, change, now):
            self._check_content(row, change, now)
            row.first = row.first or change.version
            row.version, row.note = change.version, change.note
            if change.event == "DELETE":
                del self._rows[change.id]
                self._buried.add(change.id)

    def _is_due(self, row: Row, change: Change, now: float) -> bool:
        """Tell whether to apply the change; a change that comes too early is applied, and is suspect."""
        step = 0 if change.event == "DELETE" else 1
        if row.first:
            if change.version < row.version + step:
                self._late(change, now, f"the row is at version {row.version}")
                return False
            expected = row.version + step
        else:
            if row.loaded == BEYOND:
                return True
            expected = row.loaded + step
            if change.version < expected and change.event != "DELETE":
                return True  # the load has it already
        if change.version != expected:
            self._suspect(LOSS, f"{change} comes where version {expected} is due", now)
            self._passed |= {(change.id, version) for version in range(expected, change.version)}
        return True

    def _late(self, change: Change, now: float, why: str) -> None:
        passed = (change.id, change.version) in self._passed
        self._passed.discard((change.id, change.version))
        self._suspect(OUT_OF_ORDER if passed else DUPLICATE, f"{change} comes, but {why}", now)

    def _check_content(self, row: Row, change: Change, now: float) -> None:
        if (change.event == "INSERT") != (change.version == 1 and change.event != "DELETE"):
            self._suspect(WRONG, f"{change} is no such version", now)
        if change.version == row.loaded and change.note != row.loaded_note:
            self._suspect(WRONG, f"{change}, but the table had {row.loaded_note:.40}", now)
        known = (row.version, row.note)
        follows = row.version == change.version - 1 > 0 and change.event == "UPDATE"
        if follows and change.old != known:
            self._suspect(WRONG, f"{change} with old {change.old} after {known}", now)
        if change.event == "DELETE" and row.version == change.version and change.note != row.note:
            self._suspect(WRONG, f"{change}, but its note was {row.note:.40}", now)

    def differences(self, truth: Truth) -> list[Difference]:
        if not self.is_loaded:
            return [(LOSS, "the table was never loaded")]
        mine = {id: (row.version, row.note) for id, row in self._rows.items()}
        missing = truth.rows.keys() - mine.keys()
        different = {id for id in truth.rows.keys() & mine.keys() if truth.rows[id] != mine[id]}
        extra = mine.keys() - truth.rows.keys()
        unseen = truth.dead - self._dead - self._buried - extra
        return [
            *listed(LOSS, "rows that it does not know", missing),
            *listed(LOSS, "rows of which it has another version or note", different),
            *listed(LOSS, "rows whose DELETE it has not seen", extra & truth.dead),
            *listed(PHANTOM, "rows that are not in the table", extra - truth.dead),
            *listed(LOSS, "rows that lived and died unseen", unseen),
            *listed(PHANTOM, "deletes that nobody committed", self._buried - truth.dead),
        ]


class Tally(Replica):
    """The ids of all rows for which one type of event arrived: INSERT or DELETE."""

    def __init__(self, who: str, channel: str, referee: Referee) -> None:
        super().__init__(who, channel, referee)
        self.event = channel.rpartition(":")[2]
        self._known: set[int] = set()  # when the table was loaded
        self._seen: set[int] = set()

    def _has_hole(self, step: int) -> bool:
        return False  # changes of other types have offsets too

    def _begin_with(self, truth: Truth) -> None:
        self._known, self._seen = self._all(truth), set()

    def _all(self, truth: Truth) -> set[int]:
        return set(truth.dead) if self.event == "DELETE" else truth.rows.keys() | truth.dead

    def _apply(self, change: Change, now: float) -> None:
        if change.event != self.event or (change.version != 1 and self.event == "INSERT"):
            self._suspect(WRONG, f"{change} on this channel", now)
        if change.id in self._seen:
            self._suspect(DUPLICATE, f"{change} comes again", now)
        self._seen.add(change.id)

    def differences(self, truth: Truth) -> list[Difference]:
        if not self.is_loaded:
            return [(LOSS, "the table was never loaded")]
        everything = self._all(truth)
        return [
            *listed(LOSS, f"rows whose {self.event} it has not seen", everything - self._known - self._seen),
            *listed(PHANTOM, f"{self.event}s that nobody committed", self._seen - everything),
        ]
