"""Who is present under one topic, as a value: changes come in, messages for its subscribers come out.

Lines come from `presence_v1.lua` through the hub. What happens within a moment is gathered, so that a
thousand people who come at once are a few messages; the order of one entry's changes is kept.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from gateway.frames import text_frame

SYNC_BYTES = 32_768  # of entries in one part of a `sync`

_KINDS = {ord("J"): "join", ord("U"): "update", ord("L"): "leave"}


class Roster:
    """The entries of one presence topic, and what its subscribers were not told yet."""

    def __init__(self, channel: str) -> None:
        self._head = b'{"type":"presence","channel":' + msgspec.json.encode(channel) + b',"event":"'
        self.members: dict[bytes, bytes] = {}  # by LIFE/CONNECTION
        self._pending: list[tuple[str, dict[bytes, bytes]]] = []  # kind and entries by connection, in order

    def __repr__(self) -> str:
        return f"<Roster {len(self.members)} members, {len(self._pending)} messages pending>"

    @property
    def has_news(self) -> bool:
        return bool(self._pending)

    def replace(self, members: dict[bytes, bytes]) -> None:
        """Begin anew from what Redis has."""
        self.members = dict(members)
        self._pending = []

    def apply(self, lines: Iterable[bytes]) -> None:
        """Take in what changed."""
        for line in lines:
            kind = _KINDS[line[0]]
            field, _, entry = line[1:].partition(b" ")
            if kind == "leave":
                self.members.pop(field, None)
            else:
                self.members[field] = entry
            # A node that begins a new life takes its people from one field and puts them into another.
            self._note(kind, field.rpartition(b"/")[2], entry)

    def _note(self, kind: str, connection: bytes, entry: bytes) -> None:
        """Put a change into the first message after the last one that tells of the same entry."""
        telling = [index for index, (_, entries) in enumerate(self._pending) if connection in entries]
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

    def news(self) -> list[bytes]:
        """Return the frames that tell what changed, and forget it."""
        pending, self._pending = self._pending, []
        return [frame for kind, entries in pending for frame in self._frames(kind, entries.values())]

    def sync(self) -> list[bytes]:
        """Return the frames that tell a newcomer who is there."""
        parts = list(_parts(self.members.values())) or [[]]
        last = len(parts) - 1
        return [
            self._frame("sync", part, b',"more":true' if index < last else b',"more":false')
            for index, part in enumerate(parts)
        ]

    def _frames(self, kind: str, entries: Iterable[bytes]) -> list[bytes]:
        return [self._frame(kind, part, b"") for part in _parts(entries)]

    def _frame(self, kind: str, entries: list[bytes], more: bytes) -> bytes:
        return text_frame(
            self._head + kind.encode() + b'","presences":[' + b",".join(entries) + b"]" + more + b"}"
        )


def _parts(entries: Iterable[bytes]) -> Iterable[list[bytes]]:
    part: list[bytes] = []
    size = 0
    for entry in entries:
        if part and size + len(entry) > SYNC_BYTES:
            yield part
            part, size = [], 0
        part.append(entry)
        size += len(entry)
    if part:
        yield part
