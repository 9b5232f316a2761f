"""Consecutive publications of a topic as frames, built once for all clients that reconnect at any offset.

A page of a replay cache appends publications; a subscriber gets the frames after its offset, a slice at a
time. A whole audience shares most pieces of a slice; only the first piece is cut for each offset.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from gateway.hub.subscribers import Selector, SubscriberT, Subscription, excluded_readers
from gateway.wire.codec import Codec
from gateway.wire.frames import PIECE_BYTES
from realtime.channels import Channel
from realtime.publications import Publication

CUTS = 16  # first pieces cached for clients at the same offset; a full cache is cleared

INDEX_BYTES = 16  # overhead of a message, beside its frame


class ReplayFrames:
    """The messages of consecutive publications, as one audience of a channel gets them."""

    def __init__(self, codec: Codec, channel: Channel, selector: Selector) -> None:
        self.codec = codec
        self.channel = channel
        self.selector = selector  # of all subscriptions that share these frames
        self.publications = 0  # number of publications added so far
        self.excluded: set[str] = set()  # connections that do not get some message
        self.last = 0  # the last offset, even if its message is not for this channel
        self._size = 0  # bytes of all frames
        self._offsets = array("Q")  # the offset of each message
        self._starts = array("Q")  # the first byte of the frame of each message
        self._pieces: list[bytes] = []  # the full pieces
        self._piece_starts: list[int] = [0]  # the first byte of each piece, also of the growing piece
        self._growing: list[bytes] = []  # parts of the last piece, which is not full yet
        self._cuts: dict[int, bytes] = {}  # cut first pieces, by the index of their first message

    def __repr__(self) -> str:
        return f"<ReplayFrames {self.channel.name} {len(self._offsets)} messages, {self._size} bytes>"

    @property
    def size(self) -> int:
        """Bytes of frames and index, without the cut first pieces."""
        return self._size + INDEX_BYTES * len(self._offsets)

    @property
    def pieces(self) -> list[bytes]:
        """The pieces that the audience shares."""
        return self._pieces

    def extend(self, publication: Publication) -> None:
        """Append the next publication."""
        self.publications += 1
        self.last = publication.last
        self._cuts.clear()
        if not self.channel.table:
            self.excluded |= excluded_readers(publication)
        numbers = self.selector.select(publication)
        for offset, length, parts in self.codec.encode_lines(self.channel, publication, numbers):
            self._offsets.append(offset)
            self._starts.append(self._size)
            self._growing += parts
            self._size += length
            if self._size - self._piece_starts[-1] >= PIECE_BYTES:
                self._pieces.append(b"".join(self._growing))
                self._piece_starts.append(self._size)
                self._growing = []

    def after(self, offset: int, most_bytes: int) -> tuple[list[bytes], int]:
        """Return the messages after `offset`, ready to write, and the offset that they reach.

        The messages end with the piece that brings their size to `most_bytes` or more.
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
        """Return a piece from the message `index` to the end of the piece."""
        if index not in self._cuts:
            if len(self._cuts) >= CUTS:
                self._cuts.clear()
            whole = self._pieces[piece] if piece < len(self._pieces) else self._joined()
            self._cuts[index] = whole[self._starts[index] - self._piece_starts[piece] :]
        return self._cuts[index]

    def _last_piece(self, first: int) -> list[bytes]:
        return [self._joined()] if self._growing and first < len(self._pieces) else []

    def _joined(self) -> bytes:
        """Return the growing piece as it is now."""
        if len(self._growing) > 1:
            self._growing = [b"".join(self._growing)]
        return self._growing[0]


def own_slice(
    subscription: Subscription[SubscriberT], publications: Iterable[Publication], offset: int, most_bytes: int
) -> tuple[list[bytes], int]:
    """As `after`, but for one subscription, which does not get all messages of its audience."""
    parts: list[bytes] = []
    size = 0
    for publication in publications:
        rest = publication.after(offset)
        numbers = subscription.selector.select(rest)
        lines = subscription.codec.encode_lines(subscription.channel, rest, numbers)
        for number, length, frame in lines:
            parts += frame
            size += length
            if size >= most_bytes:
                return [b"".join(parts)], number
        offset = publication.last
    return ([b"".join(parts)] if parts else []), offset
