"""The presence list of one topic: changes come in, events for the topic's subscribers come out.

Lines come from `presence_v2.lua` through the hub. Changes of a short time are gathered, so that a thousand
people who join at once make a few messages; the changes of one entry keep their order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.wire.codec import Codec
from gateway.wire.events import PresenceChange, PresenceChanged
from realtime.waiting.batches import batches_by_weight

SYNC_BYTES = 32_768  # of entries in one part of a `sync`
SYNC_ENTRIES = 1_000  # in one part of a `sync`, at most

MOST_DIGITS = 19  # an incarnation's number has fewer digits

LEAVE = b"L"  # mark at the start of a line that removes an entry; other lines set an entry


@dataclass(frozen=True, slots=True, eq=False)
class Attendance:
    """The presence list of one moment; it shares the entries, and has no copies of them."""

    connections: list[bytes]
    entries: list[bytes]  # of each connection, in the same order
    size: int  # bytes of the entries

    def __len__(self) -> int:
        return len(self.entries)


@dataclass(frozen=True, slots=True, eq=False)
class RosterChange:
    """Entries with the same kind of change, for one frame; it shares the entries, without copies."""

    kind: str
    entries: list[bytes]

    @property
    def size(self) -> int:
        return sum(map(len, self.entries))


class Roster:
    """The entries of one presence topic, and the changes that its subscribers did not get yet.

    A node that begins a new incarnation writes its entries again under the new one; the entries of the old
    incarnation may be removed before or after that. Subscribers see one entry a connection: that of the
    highest incarnation.
    """

    __slots__ = ("_attendance", "_channel", "_members", "_pending", "size")

    def __init__(self, channel: str) -> None:
        self._channel = channel
        self._members: dict[bytes, dict[int, bytes]] = {}  # by connection, and by number of the incarnation
        self._pending: list[tuple[str, dict[bytes, bytes]]] = []  # kind and entries by connection, in order
        self._attendance: Attendance | None = None  # the present list, once somebody has asked for it
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
        """Replace all entries with those of Redis, INCARNATION/CONNECTION → entry; drop what is pending."""
        self._members, self._pending, self._attendance, self.size = {}, [], None, 0
        for field, entry in members.items():
            if (whose := _whose(field)) is not None:
                self._put(*whose, entry)

    def apply(self, lines: Iterable[bytes]) -> None:
        """Apply the changes of these lines."""
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
            self._note_change(connection, before, self._entry(connection))

    def entries(self) -> list[bytes]:
        """Return all entries that are present, one a connection."""
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

    def _note_change(self, connection: bytes, before: bytes | None, after: bytes | None) -> None:
        if after == before:
            return
        if after is None:
            self._note("leave", connection, before or b"")
        else:
            self._note("join" if before is None else "update", connection, after)

    def _note(self, kind: str, connection: bytes, entry: bytes) -> None:
        """Add a change to the first pending message after the last one that has the same connection."""
        holding = [index for index, (_, entries) in enumerate(self._pending) if connection in entries]
        if holding and kind == "join":
            other, entries = self._pending[holding[-1]]
            if other == "leave" and entries[connection] == entry:
                self._forget(holding[-1], connection)  # it only moved to another incarnation of its node
                return
        if holding and kind == "update":
            other, entries = self._pending[holding[-1]]
            if other in ("join", "update"):
                entries[connection] = entry  # the pending message sends the present entry
                return
        for other, entries in self._pending[holding[-1] + 1 if holding else 0 :]:
            if other == kind:
                entries[connection] = entry
                return
        self._pending.append((kind, {connection: entry}))

    def _forget(self, index: int, connection: bytes) -> None:
        _, entries = self._pending[index]
        del entries[connection]
        if not entries:
            del self._pending[index]

    def news(self) -> list[PresenceChanged]:
        """Return the pending changes as events, and clear them."""
        pending, self._pending = self._pending, []
        return [self._event(kind, part) for kind, entries in pending for part in _parts(entries.values())]

    def attendance(self) -> Attendance:
        """Return the present list; all callers before the next change share it."""
        if self._attendance is None:
            entries = self.entries()
            self._attendance = Attendance(list(self._members), entries, sum(map(len, entries)))
        return self._attendance

    def sync(self) -> list[PresenceChanged]:
        """Return the events of a complete `sync`."""
        who, sent = self.attendance(), 0
        events: list[PresenceChanged] = []
        while not events or sent < len(who):
            event, sent = self._sync_part(who, sent)
            events.append(event)
        return events

    def sync_after(
        self, codec: Codec, who: Attendance, sent: int, most_bytes: int
    ) -> tuple[list[bytes], int]:
        """Return the next frames of a `sync` after `sent` members, and how many members are sent then.

        The frames end with the one that brings their size to `most_bytes` or more.
        """
        frames: list[bytes] = []
        size = 0
        while not frames or (size < most_bytes and sent < len(who)):
            event, sent = self._sync_part(who, sent)
            frames.append(codec.encode(event))
            size += len(frames[-1])
        return frames, sent

    def _sync_part(self, who: Attendance, sent: int) -> tuple[PresenceChanged, int]:
        part = next(_parts(who.entries[sent : sent + SYNC_ENTRIES]), [])
        sent += len(part)
        return self._event("sync", part, more=sent < len(who)), sent

    def changes_since(self, who: Attendance) -> deque[RosterChange]:
        """Return the changes from an earlier list to the present list, each small enough for one frame."""
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
        return deque(
            RosterChange(kind, part) for kind, entries in changes.items() for part in _parts(entries)
        )

    def event_of(self, change: RosterChange) -> PresenceChanged:
        return self._event(change.kind, change.entries)

    def _event(self, kind: str, entries: list[bytes], more: bool = False) -> PresenceChanged:
        return PresenceChanged(self._channel, PresenceChange(kind), entries, more)


def _whose(field: bytes) -> tuple[bytes, int] | None:
    """Return connection and incarnation number of NODE-NUMBER/CONNECTION; None: no node wrote it."""
    incarnation, _, connection = field.rpartition(b"/")
    number = incarnation.rpartition(b"-")[2]
    return (connection, int(number)) if number.isdigit() and len(number) < MOST_DIGITS else None


def _parts(entries: Iterable[bytes]) -> Iterator[list[bytes]]:
    return batches_by_weight(entries, len, SYNC_BYTES)
