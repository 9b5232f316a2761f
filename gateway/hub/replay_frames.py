"""A stretch of a topic as frames, built once for all who come back, whatever each of them has seen.

A page of a replay cache extends it; a subscriber is sent what lies behind an offset, a slice at a time. Most
of that are pieces which a whole audience shares; only the first piece is cut for each offset.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import Any

from gateway.hub.subscribers import Selector, Subscription, excluded_readers
from gateway.wire.frames import PIECE_BYTES
from gateway.wire.native import NativeCodec
from realtime.channels import Channel
from realtime.publications import Publication

CUTS = 16  # first pieces kept for who asks for the same offset; beyond it they are cut again

INDEX_BYTES = 16  # that a message takes beside its frame


class ReplayFrames:
    """The messages of consecutive publications, as one audience of a channel gets them."""

    def __init__(self, channel: Channel, selector: Selector) -> None:
        self.channel = channel
        self.selector = selector  # of all who share these
        self.publications = 0  # of which it was made
        self.excluded: set[str] = set()  # connections that some message is not for
        self.last = 0  # the last offset, whether or not its message is for this channel
        self._size = 0  # bytes of all frames
        self._offsets = array("Q")  # of each message
        self._starts = array("Q")  # the byte with which its frame begins
        self._pieces: list[bytes] = []  # the full ones
        self._piece_starts: list[int] = [0]  # the byte with which each begins, the growing one too
        self._growing: list[bytes] = []  # parts of the last piece
        self._cuts: dict[int, bytes] = {}  # first pieces by index of their first message

    def __repr__(self) -> str:
        return f"<ReplayFrames {self.channel.name} {len(self._offsets)} messages, {self._size} bytes>"

    @property
    def size(self) -> int:
        """Bytes that it takes, without first pieces that were cut."""
        return self._size + INDEX_BYTES * len(self._offsets)

    @property
    def pieces(self) -> list[bytes]:
        """The pieces that the audience shares."""
        return self._pieces

    def extend(self, publication: Publication) -> None:
        """Put the next publication at the end."""
        self.publications += 1
        self.last = publication.last
        self._cuts.clear()
        if not self.channel.table:
            self.excluded |= excluded_readers(publication)
        numbers = self.selector.select(publication)
        for offset, length, parts in NativeCodec().encode_lines(self.channel, publication, numbers):
            self._offsets.append(offset)
            self._starts.append(self._size)
            self._growing += parts
            self._size += length
            if self._size - self._piece_starts[-1] >= PIECE_BYTES:
                self._pieces.append(b"".join(self._growing))
                self._piece_starts.append(self._size)
                self._growing = []

    def after(self, offset: int, most_bytes: int) -> tuple[list[bytes], int]:
        """Return the messages beyond `offset`, ready to write, and the offset up to which they go.

        They end with the piece that makes them `most_bytes` or more.
        """
        index = bisect_right(self._offsets, offset)
        if index == len(self._offsets):
            return [], self.last
        start = self._starts[index]
        first = bisect_right(self._piece_starts, start) - 1
        end = bisect_left(self._piece_starts, start + most_bytes, first + 1)
        if end >= len(self._piece_starts):
            return [self._cut(index, first), *self._pieces[first + 1 :], *self._last_piece(first)], self.last
        reached = self._offsets[bisect_left(self._starts, self._piece_starts[end]) - 1]
        is_last = end == len(self._pieces) and not self._growing
        return [self._cut(index, first), *self._pieces[first + 1 : end]], self.last if is_last else reached

    def _cut(self, index: int, piece: int) -> bytes:
        """The end of a piece, from a message on."""
        if index not in self._cuts:
            if len(self._cuts) >= CUTS:
                self._cuts.clear()
            whole = self._pieces[piece] if piece < len(self._pieces) else self._joined()
            self._cuts[index] = whole[self._starts[index] - self._piece_starts[piece] :]
        return self._cuts[index]

    def _last_piece(self, first: int) -> list[bytes]:
        return [self._joined()] if self._growing and first < len(self._pieces) else []

    def _joined(self) -> bytes:
        """The piece that grows, as it is now."""
        if len(self._growing) > 1:
            self._growing = [b"".join(self._growing)]
        return self._growing[0]


def own_slice(
    subscription: Subscription[Any], publications: Iterable[Publication], offset: int, most_bytes: int
) -> tuple[list[bytes], int]:
    """As `after`, made for one subscription alone: not all of what its audience gets is for it."""
    parts: list[bytes] = []
    size = 0
    for publication in publications:
        rest = publication.after(offset)
        numbers = subscription.selector.select(rest)
        for number, length, frame in NativeCodec().encode_lines(subscription.channel, rest, numbers):
            parts += frame
            size += length
            if size >= most_bytes:
                return [b"".join(parts)], number
        offset = publication.last
    return ([b"".join(parts)] if parts else []), offset
