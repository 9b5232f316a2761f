"""A stretch of a topic as frames, built once for all who come back, whatever each of them has seen.

A recollection extends it; a socket is sent what lies behind an offset. Most of that are pieces which all
readers share; only the first piece is cut for each offset.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right

from gateway.frames import PIECE_BYTES, excluded_by, message_frames
from realtime.channels import Channel
from realtime.publications import Publication

CUTS = 16  # answers kept for who asks for the same offset; beyond it they are cut again

# What a frame has beside its line and twice the channel's name, at most, and its place in the index.
FRAME_BYTES = 128


class Tape:
    """The messages of consecutive publications, as subscribers of one channel get them."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.publications = 0  # of which it was made
        self.senders: set[str] = set()  # connections that some message is not for
        self._size = 0  # bytes of all frames
        self._offsets = array("Q")  # of each message
        self._starts = array("Q")  # the byte with which its frame begins
        self._pieces: list[bytes] = []  # the full ones
        self._piece_starts: list[int] = [0]  # the byte with which each begins, the growing one too
        self._growing: list[bytes] = []  # parts of the last piece
        self._cuts: dict[int, list[bytes]] = {}  # answers by index of their first message

    def __repr__(self) -> str:
        return f"<Tape {self.channel.name} {len(self._offsets)} messages, {self._size} bytes>"

    def extend(self, publication: Publication) -> None:
        """Put the next publication at the end."""
        self.publications += 1
        self._cuts.clear()
        if not self.channel.table:
            self.senders |= excluded_by(publication)
        for offset, length, parts in message_frames(self.channel, publication):
            self._offsets.append(offset)
            self._starts.append(self._size)
            self._growing += parts
            self._size += length
            if self._size - self._piece_starts[-1] >= PIECE_BYTES:
                self._pieces.append(b"".join(self._growing))
                self._piece_starts.append(self._size)
                self._growing = []

    def after(self, offset: int) -> list[bytes]:
        """Return all messages beyond `offset`, ready to write."""
        index = bisect_right(self._offsets, offset)
        if index == len(self._offsets):
            return []
        if index not in self._cuts:
            if len(self._cuts) >= CUTS:
                self._cuts.clear()
            self._cuts[index] = self._cut(self._starts[index])
        return self._cuts[index]

    def _cut(self, start: int) -> list[bytes]:
        if len(self._growing) > 1:
            self._growing = [b"".join(self._growing)]
        piece = bisect_right(self._piece_starts, start) - 1
        first, *rest = self._pieces[piece:] + self._growing
        return [first[start - self._piece_starts[piece] :], *rest]


def frame_bytes(channel: Channel, lines: int) -> int:
    """What so many frames take beside the text of their lines, at most."""
    return lines * (FRAME_BYTES + 2 * len(channel.name.encode()))
