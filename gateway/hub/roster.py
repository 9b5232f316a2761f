"""Who is present under one topic, as a value: changes come in, messages for its subscribers come out.

Lines come from `presence_v2.lua` through the hub. What happens within a moment is gathered, so that a
thousand people who come at once are a few messages; the order of one entry's changes is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf

from gateway.wire.events import PresenceChange, PresenceChanged
from gateway.wire.native import NativeCodec
from realtime.waiting.batches import batches_by_weight

SYNC_BYTES = 32_768  # of entries in one part of a `sync`
SYNC_ENTRIES = 1_000  # in one part, at most

MOST_DIGITS = 19  # of an incarnation's number

LEAVE = b"L"  # what the line of an entry that goes begins with; others set one


@dataclass(frozen=True, slots=True, eq=False)
class Attendance:
    """Who was present at one moment: the entries themselves, not copies of them."""

    connections: list[bytes]
    entries: list[bytes]  # of each of them
    size: int  # bytes of the entries

    def __len__(self) -> int:
        return len(self.entries)


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What happened to some, as one frame tells it: the entries themselves, not copies of them."""

    kind: str
    entries: list[bytes]

    @property
    def size(self) -> int:
        return sum(map(len, self.entries))


class Roster:
    """The entries of one presence topic, and the changes that its subscribers were not sent yet.

    A node that begins a new incarnation writes its entries again under that one; those of the incarnation
    before may go earlier or later. To subscribers they are one: a connection is there as its last incarnation
    has it.
    """

    def __init__(self, channel: str) -> None:
        self._channel = channel
        self._members: dict[bytes, dict[int, bytes]] = {}  # by connection, and number of the incarnation
        self._pending: list[tuple[str, dict[bytes, bytes]]] = []  # kind and entries by connection, in order
        self._attendance: Attendance | None = None  # as it is now, if somebody asked
        self.size = 0  # bytes of all entries

    def __repr__(self) -> str:
        return f"<Roster {len(self._members)} members, {len(self._pending)} messages pending>"

    @property
    def is_empty(self) -> bool:
        return not self._members

    @property
    def has_news(self) -> bool:
        return bool(self._pending)

    def replace(self, members: dict[bytes, bytes]) -> None:
        """Begin anew from what Redis has: INCARNATION/CONNECTION → entry."""
        self._members, self._pending, self._attendance, self.size = {}, [], None, 0
        for field, entry in members.items():
            if (whose := _whose(field)) is not None:
                self._put(*whose, entry)

    def apply(self, lines: Iterable[bytes]) -> None:
        """Take in what changed."""
        self._attendance = None
        for line in lines:
            field, _, entry = line[1:].partition(b" ")
            if (whose := _whose(field)) is None:
                continue
            connection, number = whose
            before = self._entry(connection)
            if line[:1] == LEAVE:
                self._remove(connection, number)
            else:
                self._put(connection, number, entry)
            self._tell(connection, before, self._entry(connection))

    def entries(self) -> list[bytes]:
        """Who is there, an entry a connection."""
        return [incarnations[max(incarnations)] for incarnations in self._members.values()]

    def _entry(self, connection: bytes) -> bytes | None:
        incarnations = self._members.get(connection)
        return incarnations[max(incarnations)] if incarnations else None

    def _put(self, connection: bytes, number: int, entry: bytes) -> None:
        incarnations = self._members.setdefault(connection, {})
        self.size += len(entry) - len(incarnations.get(number, b""))
        incarnations[number] = entry

    def _remove(self, connection: bytes, number: int) -> None:
        incarnations = self._members.get(connection, {})
        self.size -= len(incarnations.pop(number, b""))
        if not incarnations:
            self._members.pop(connection, None)

    def _tell(self, connection: bytes, before: bytes | None, after: bytes | None) -> None:
        if after == before:
            return
        if after is None:
            self._note("leave", connection, before or b"")
        else:
            self._note("join" if before is None else "update", connection, after)

    def _note(self, kind: str, connection: bytes, entry: bytes) -> None:
        """Put a change into the first message after the last one that tells of the same entry."""
        telling = [index for index, (_, entries) in enumerate(self._pending) if connection in entries]
        if telling and kind == "join":
            other, entries = self._pending[telling[-1]]
            if other == "leave" and entries[connection] == entry:
                self._forget(telling[-1], connection)  # only moved to another incarnation of its node
                return
        if telling and kind == "update":
            other, entries = self._pending[telling[-1]]
            if other in ("join", "update"):
                entries[connection] = entry  # told at once as it is now
                return
        for other, entries in self._pending[telling[-1] + 1 if telling else 0 :]:
            if other == kind:
                entries[connection] = entry
                return
        self._pending.append((kind, {connection: entry}))

    def _forget(self, index: int, connection: bytes) -> None:
        _, entries = self._pending[index]
        del entries[connection]
        if not entries:
            del self._pending[index]

    def news(self) -> list[bytes]:
        """Return the frames that tell what changed, and forget it."""
        pending, self._pending = self._pending, []
        return [frame for kind, entries in pending for frame in self._frames(kind, entries.values())]

    def attendance(self) -> Attendance:
        """Who is there now; all who ask before the next change share it."""
        if self._attendance is None:
            entries = self.entries()
            self._attendance = Attendance(list(self._members), entries, sum(map(len, entries)))
        return self._attendance

    def sync(self) -> list[bytes]:
        """Return the frames that tell everybody who is there."""
        return self.sync_after(self.attendance(), 0, inf)[0]

    def sync_after(self, who: Attendance, told: int, most_bytes: float) -> tuple[list[bytes], int]:
        """Return the next frames of a `sync` for a newcomer, and how many members it knows then.

        They end with the frame that makes them `most_bytes` or more.
        """
        frames: list[bytes] = []
        size = 0
        while not frames or (size < most_bytes and told < len(who)):
            part = next(_parts(who.entries[told : told + SYNC_ENTRIES]), [])
            told += len(part)
            frames.append(self._frame("sync", part, more=told < len(who)))
            size += len(frames[-1])
        return frames, told

    def changes_since(self, who: Attendance) -> deque[Change]:
        """Return what makes one who knows that list know who is there now, a part a frame."""
        now = self.attendance()
        if now is who:
            return deque()
        before, after = (dict(zip(one.connections, one.entries, strict=True)) for one in (who, now))
        changes = {
            "leave": [entry for connection, entry in before.items() if connection not in after],
            "join": [entry for connection, entry in after.items() if connection not in before],
            "update": [
                entry for connection, entry in after.items() if before.get(connection, entry) != entry
            ],
        }
        return deque(Change(kind, part) for kind, entries in changes.items() for part in _parts(entries))

    def frame_of(self, change: Change) -> bytes:
        return self._frame(change.kind, change.entries)

    def _frames(self, kind: str, entries: Iterable[bytes]) -> list[bytes]:
        return [self._frame(kind, part) for part in _parts(entries)]

    def _frame(self, kind: str, entries: list[bytes], more: bool = False) -> bytes:
        event = PresenceChanged(self._channel, PresenceChange(kind), entries, more)
        return NativeCodec().encode(event)


def _whose(field: bytes) -> tuple[bytes, int] | None:
    """Whose entry it is, and of which incarnation: NODE-NUMBER/CONNECTION. None: no node wrote it."""
    incarnation, _, connection = field.rpartition(b"/")
    number = incarnation.rpartition(b"-")[2]
    return (connection, int(number)) if number.isdigit() and len(number) < MOST_DIGITS else None


def _parts(entries: Iterable[bytes]) -> Iterator[list[bytes]]:
    return batches_by_weight(entries, len, SYNC_BYTES)
