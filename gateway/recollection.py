"""What a node remembers of a topic for clients that come back, up to where the topic stands.

History fills it from behind, the hub extends it by what it hands on, and every `since` in between is
served from it, as shared frames. It never has a hole: what does not join up ends it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from gateway.frames import message_pieces
from gateway.tape import Tape, frame_bytes
from realtime.channels import Channel
from realtime.publications import Position, Publication

# Of one topic and of all, lines and frames. What does not fit is read by each client for itself.
TOPIC_BYTES = 32 * 1024 * 1024
NODE_BYTES = 128 * 1024 * 1024

LINE_BYTES = 64  # what a line takes beside its text


class Reach(Enum):
    """What a recollection can do for a client that has seen a topic up to some offset."""

    COVERED = auto()
    UNREAD = auto()  # history may have it
    LOST = auto()  # history does not reach
    BEYOND = auto()  # history may have it, but it does not fit


@dataclass(slots=True)
class Room:
    """How many bytes all recollections of a node hold."""

    used: int = 0


class Recollection:
    """The publications of one epoch of a topic from `start` to `end`, without a hole."""

    def __init__(self, at: Position, entries: int, room: Room) -> None:
        self.start = at
        self.end = at
        self.is_used = True  # since somebody last looked whether it is
        self._entries = entries  # that history keeps; older ones are not told, though they be here
        self._room: Room | None = room  # None when it was closed
        self._size = 0  # bytes taken from the room
        self._publications: list[Publication] = []
        self._tapes: dict[str, Tape] = {}  # by channel name
        self._wanted: Counter[int] = Counter()  # offsets of those who wait for history
        self._lost = -1  # the last offset to which history was found not to reach
        self._beyond = -1  # the last offset from which on it was found not to fit

    def __repr__(self) -> str:
        return f"<Recollection {self.start} to {self.end}, {self._size} bytes>"

    def reach(self, offset: int) -> Reach:
        """Tell what to do for a client that has seen this epoch up to `offset`, short of `end`."""
        if offset >= self.start.offset:
            oldest = self._publications[self._index(offset)]
            return Reach.COVERED if oldest.last > self.end.offset - self._entries else Reach.LOST
        if offset <= self._lost:
            return Reach.LOST
        return Reach.BEYOND if offset <= self._beyond else Reach.UNREAD

    def pieces(self, channel: Channel, offset: int, reader: str) -> list[bytes]:
        """Return the messages after an offset that is COVERED, as the connection `reader` gets them."""
        self.is_used = True
        tape = self._tape(channel)
        if tape is not None and reader not in tape.senders:
            return tape.after(offset)
        first, *rest = self._publications[self._index(offset) :]
        return pieces_of(channel, [first.after(offset), *rest], reader)

    def _index(self, offset: int) -> int:
        """Where the first publication is that has something beyond `offset`."""
        return bisect_right(self._publications, offset, key=_last)

    def _tape(self, channel: Channel) -> Tape | None:
        """Return the channel's frames, made up to `end`; None if there is no room for them."""
        tape = self._tapes.get(channel.name) or Tape(channel)
        missing = self._publications[tape.publications :]
        lines = sum(len(publication.lines) for publication in missing)
        if not self._take(_size(missing) + frame_bytes(channel, lines)):
            return None
        self._tapes[channel.name] = tape
        for publication in missing:
            tape.extend(publication)
        return tape

    # As time goes on

    def append(self, publication: Publication) -> bool:
        """Take in what the topic hands on; False if it does not follow or fit, and all must be forgotten."""
        if publication.epoch != self.end.epoch or publication.first != self.end.offset + 1:
            return False
        if publication.lines:
            if not self._take(_size([publication])):
                return False
            self._publications.append(publication)
            self.end = Position(publication.epoch, publication.last)
        return True

    def close(self) -> None:
        """Give back the room; nothing is taken in any more."""
        if self._room is not None:
            self._room.used -= self._size
            self._room = None

    def _take(self, size: int) -> bool:
        if self._room is None or self._size + size > TOPIC_BYTES or self._room.used + size > NODE_BYTES:
            return False
        self._size += size
        self._room.used += size
        return True

    # Looking further back

    def want(self, offset: int) -> None:
        """Note that a client waits for what lies after an UNREAD offset."""
        self._wanted[offset] += 1

    def want_no_more(self, offset: int) -> None:
        self._wanted[offset] -= 1
        if not self._wanted[offset]:
            del self._wanted[offset]

    def next_to_read(self) -> Position:
        """Choose from where to read history up to `start`, so that one reading does for most who wait.

        It is the oldest that anybody wants, and after a failure the middle one: however many come with
        what history has no more, they are told after a few readings.
        """
        offsets = sorted(offset for offset in self._wanted if self.reach(offset) is Reach.UNREAD)
        untried = self._lost == self._beyond == -1
        return Position(self.start.epoch, offsets[0 if untried else len(offsets) // 2])

    def look_back(self, since: Position, older: list[Publication] | None) -> None:
        """Take in what history has after `since`, at least up to `start`; None: it does not reach."""
        if older is None:
            self._lost = max(self._lost, since.offset)
            return
        # A client's `since` may lie within a publication: who had seen less of it brings the whole.
        again = self._index(older[-1].last) if older else 0
        publications = older + self._publications[again:]
        if not joins_up(since, publications, self.end):
            self._lost = max(self._lost, since.offset)
        elif not self._take(_size(older)):
            self._beyond = max(self._beyond, since.offset)
        else:
            self._publications, self.start = publications, since
            self._tapes.clear()  # frames are made from the beginning on
            self._give_back(self._size - _size(publications))

    def _give_back(self, size: int) -> None:
        self._size -= size
        if self._room is not None:
            self._room.used -= size


def joins_up(start: Position, publications: Iterable[Publication], end: Position) -> bool:
    """Whether the publications lead from start to end without a hole."""
    for publication in publications:
        if publication.epoch != start.epoch or publication.first != start.offset + 1:
            return False
        start = Position(publication.epoch, publication.last)
    return start == end


def pieces_of(channel: Channel, publications: Iterable[Publication], reader: str) -> list[bytes]:
    """The messages of publications as one connection gets them."""
    return [piece for publication in publications for piece in message_pieces(channel, publication, reader)]


def _last(publication: Publication) -> int:
    return publication.last


def _size(publications: Iterable[Publication]) -> int:
    return sum(len(line) + LINE_BYTES for publication in publications for line in publication.lines)
