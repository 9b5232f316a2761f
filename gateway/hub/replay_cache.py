"""What a node remembers of a topic for clients that come back: pages of history, read once for all of them.

Pages are read where a client needs one, and the hub adds what it delivers; every client takes shared frames
from them, a slice at a time. Between two pages there may be a hole, within one there is none. All topics have
one budget: where it is used up, the page that was used least recently goes, and who needs it reads it again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from enum import Enum, auto
from itertools import chain
from typing import Any

from gateway.hub.replay_frames import ReplayFrames, own_slice
from gateway.hub.subscribers import Subscription
from gateway.wire.frames import PIECE_BYTES
from realtime.publications import Position, Publication

PAGE_BYTES = 4 * PIECE_BYTES  # of lines; a page that has more takes in no further publication
SLICE_BYTES = 2 * PIECE_BYTES  # of frames that a client gets in one go, beside the piece that goes beyond it

LINE_BYTES = 64  # what a line takes beside its text


class Coverage(Enum):
    """What a replay cache can do for a client that has seen a topic up to some offset."""

    COVERED = auto()
    UNREAD = auto()  # history may have it
    LOST = auto()  # history does not reach


class ReplayBudget:
    """The pages of all topics of a node, within `most_bytes`, unless a single one is larger."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.used = 0
        self._pages: dict[Page, None] = {}  # the one used last at the end

    def __repr__(self) -> str:
        return f"<ReplayBudget {self.used} bytes in {len(self._pages)} pages>"

    def __iter__(self) -> Iterator[Page]:
        return iter(self._pages)

    def take(self, page: Page, size: int) -> None:
        """Let a page have more bytes, for which others may have to go."""
        page.size += size
        self.used += size
        self.touch(page)
        while self.used > self.most_bytes and len(self._pages) > 1:
            next(iter(self._pages)).go()

    def touch(self, page: Page) -> None:
        self._pages.pop(page, None)
        self._pages[page] = None

    def give_back(self, page: Page) -> None:
        if page in self._pages:
            del self._pages[page]
            self.used -= page.size

    def clear(self) -> None:
        """Let all pages go: who needs them reads history again."""
        for page in list(self._pages):
            page.go()


class Page:
    """Consecutive publications without a hole, and their frames by audience."""

    def __init__(self, cache: ReplayCache, budget: ReplayBudget, publications: list[Publication]) -> None:
        self.size = 0  # bytes taken from the budget
        self.publications = publications
        self._cache = cache
        self._budget = budget
        self._frames: dict[Hashable, ReplayFrames] = {}  # by audience
        self._lines = 0  # bytes of lines
        self._count(publications)

    def __repr__(self) -> str:
        return f"<Page {self.first} to {self.last}, {self.size} bytes>"

    @property
    def first(self) -> int:
        return self.publications[0].first

    @property
    def last(self) -> int:
        return self.publications[-1].last

    @property
    def is_full(self) -> bool:
        return self._lines >= PAGE_BYTES

    @property
    def pieces(self) -> Iterator[bytes]:
        """The pieces of frames that send queues may share with it."""
        return chain.from_iterable(frames.pieces for frames in self._frames.values())

    def append(self, publication: Publication) -> None:
        self.publications.append(publication)
        self._count([publication])

    def _count(self, publications: list[Publication]) -> None:
        size = _size(publications)
        self._lines += size
        self._budget.take(self, size)

    def slice(self, subscription: Subscription[Any], offset: int) -> tuple[list[bytes], int]:
        """Return the next messages after an offset, as a subscription gets them, and up to where they go."""
        frames = self._frames_of(subscription)
        if subscription.selector.reader in frames.excluded:
            rest = self.publications[self._index(offset) :]
            return own_slice(subscription, rest, offset, SLICE_BYTES)
        return frames.after(offset, SLICE_BYTES)

    def _frames_of(self, subscription: Subscription[Any]) -> ReplayFrames:
        frames = self._frames.get(subscription.audience)
        if frames is None:
            frames = ReplayFrames(subscription.channel, subscription.selector.shared)
            self._frames[subscription.audience] = frames
        before = frames.size
        for publication in self.publications[frames.publications :]:
            frames.extend(publication)
        self._budget.take(self, frames.size - before)
        return frames

    def publication_after(self, offset: int) -> Publication:
        return self.publications[self._index(offset)]

    def _index(self, offset: int) -> int:
        """Where the first publication is that has something beyond `offset`."""
        return bisect_right(self.publications, offset, key=_last)

    def go(self) -> None:
        self._budget.give_back(self)
        self._cache.drop(self)


class ReplayCache:
    """Pages of one epoch of a topic, up to `end`, where the topic stands."""

    def __init__(self, at: Position, entries: int, budget: ReplayBudget) -> None:
        self.end = at
        self.is_used = True  # since somebody last looked whether it is
        self._entries = entries  # that history keeps; older ones are not told, though they be here
        self._budget: ReplayBudget | None = budget  # None when it was closed
        self._pages: list[Page] = []  # in order, none overlaps another
        self._wanted: Counter[int] = Counter()  # offsets of those who wait for history
        self._lost = -1  # the last offset to which history was found not to reach

    def __repr__(self) -> str:
        return f"<ReplayCache {len(self._pages)} pages up to {self.end}>"

    def coverage(self, offset: int) -> Coverage:
        """Tell what to do for a client that has seen this epoch up to `offset`, short of `end`."""
        if self._page_after(offset) is not None:
            return Coverage.COVERED
        return Coverage.LOST if offset <= self._lost else Coverage.UNREAD

    def is_kept(self, offset: int) -> bool:
        """Whether history, by its number of entries, still has what follows a COVERED offset."""
        page = self._page_after(offset)
        return page is not None and page.publication_after(offset).last > self.end.offset - self._entries

    def slice(self, subscription: Subscription[Any], offset: int) -> tuple[list[bytes], int]:
        """Return the next messages after a COVERED offset for a subscription, and up to where they go.

        The messages are ready to write; there may be none of them for this subscription.
        """
        page = self._page_after(offset)
        assert page is not None, "covered"
        assert self._budget is not None, "what is closed has no pages"
        self.is_used = True
        self._budget.touch(page)
        return page.slice(subscription, offset)

    def to_choose_from(self, offset: int) -> list[Publication]:
        """The publications out of which the next slice after a COVERED offset is chosen, and some more."""
        page = self._page_after(offset)
        assert page is not None, "covered"
        return page.publications

    def _page_after(self, offset: int) -> Page | None:
        """The page with the message that follows an offset."""
        index = bisect_right(self._pages, offset, key=_last)
        found = index < len(self._pages) and self._pages[index].first <= offset + 1
        return self._pages[index] if found else None

    # As time goes on

    def append(self, publication: Publication) -> bool:
        """Take in what the topic delivers; False if it does not follow, and all must be forgotten."""
        if publication.epoch != self.end.epoch or publication.first != self.end.offset + 1:
            return False
        if publication.lines and self._budget is not None:
            last = self._pages[-1] if self._pages else None
            if last is not None and last.last == self.end.offset and not last.is_full:
                last.append(publication)
            else:
                self._add([publication])
            self.end = Position(publication.epoch, publication.last)
        return True

    def _add(self, publications: list[Publication]) -> None:
        assert self._budget is not None, "asked before"
        page = Page(self, self._budget, publications)
        self._pages.insert(bisect_right(self._pages, page.first, key=_first), page)

    def drop(self, page: Page) -> None:
        """A page had to go."""
        if page in self._pages:
            self._pages.remove(page)

    def close(self) -> None:
        """Give back what it has of the budget; nothing is taken in any more."""
        for page in list(self._pages):
            page.go()
        self._budget = None

    # Looking back

    def want(self, offset: int) -> None:
        """Note that a client waits for what lies after an UNREAD offset."""
        self._wanted[offset] += 1

    def want_no_more(self, offset: int) -> None:
        self._wanted[offset] -= 1
        if not self._wanted[offset]:
            del self._wanted[offset]

    def next_to_read(self) -> tuple[Position, int]:
        """Choose from where to read history, so that one page does for most who wait, and up to where.

        It is the oldest that anybody wants, and after a failure the middle one: however many come with
        what history has no more, they are told after a few readings.
        """
        offsets = sorted(offset for offset in self._wanted if self.coverage(offset) is Coverage.UNREAD)
        since = offsets[0 if self._lost == -1 else len(offsets) // 2]
        return Position(self.end.epoch, since), self._end_of_hole(since)

    def _end_of_hole(self, offset: int) -> int:
        """The last offset that is not here of those that follow one."""
        index = bisect_right(self._pages, offset, key=_last)
        return self._pages[index].first - 1 if index < len(self._pages) else self.end.offset

    def look_back(self, since: Position, page: list[Publication] | None) -> None:
        """Take in what history has next after `since`, as far as it is not here; None: it does not reach."""
        if self._budget is None:
            return
        until = self._end_of_hole(since.offset)
        found = _up_to(until, page or [])
        if found and _is_whole(since, found):
            self._add(found)
        elif since.offset < until:
            self._lost = max(self._lost, since.offset)


def _up_to(end: int, publications: Iterable[Publication]) -> list[Publication]:
    """The part of them up to an offset: history may have brought more."""
    return [
        Publication(each.epoch, each.first, each.lines[: end + 1 - each.first])
        for each in publications
        if each.first <= end
    ]


def _is_whole(since: Position, publications: Iterable[Publication]) -> bool:
    """Whether the publications follow `since`, and each other, without a hole."""
    for publication in publications:
        if publication.epoch != since.epoch or publication.first != since.offset + 1:
            return False
        since = Position(publication.epoch, publication.last)
    return True


def _first(page: Page) -> int:
    return page.first


def _last(stretch: Page | Publication) -> int:
    return stretch.last


def _size(publications: Iterable[Publication]) -> int:
    return sum(len(line) + LINE_BYTES for publication in publications for line in publication.lines)
