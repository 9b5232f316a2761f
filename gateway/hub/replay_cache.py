"""Pages of a topic's history that a node caches for clients that reconnect; one read serves all clients.

A page is read when a client needs it, and the hub appends what it delivers; every client takes shared frames
from a page, a slice at a time. There may be a hole between two pages, but never within a page. All topics
share one budget: when it is used up, the least recently used page is evicted, and read again when needed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from enum import Enum, auto
from itertools import chain

from gateway.hub.replay_frames import ReplayFrames, own_slice
from gateway.hub.subscribers import SubscriberT, Subscription
from gateway.wire.frames import PIECE_BYTES
from realtime.publications import Position, Publication

PAGE_BYTES = 4 * PIECE_BYTES  # of lines; a larger page takes no further publication
SLICE_BYTES = 2 * PIECE_BYTES  # of frames in a slice, which includes the piece that crosses it

LINE_BYTES = 64  # overhead of a line, beside its text


class Coverage(Enum):
    """Whether a replay cache has the messages that follow an offset."""

    COVERED = auto()  # a page has the next message
    UNREAD = auto()  # history may have the messages
    LOST = auto()  # history does not reach back so far


class ReplayBudget:
    """The pages of all topics of a node: at most `most_bytes`, unless a single page is larger."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.used = 0
        self._pages: dict[Page, None] = {}  # the most recently used page is the last

    def __repr__(self) -> str:
        return f"<ReplayBudget {self.used} bytes in {len(self._pages)} pages>"

    def __iter__(self) -> Iterator[Page]:
        return iter(self._pages)

    def take(self, page: Page, size: int) -> None:
        """Give a page more bytes, and evict other pages if the budget is exceeded."""
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
        """Evict all pages; a client that needs one makes the node read history again."""
        for page in list(self._pages):
            page.go()


class Page:
    """Consecutive publications without a hole, and their frames by audience."""

    def __init__(self, cache: ReplayCache, budget: ReplayBudget, publications: list[Publication]) -> None:
        self.size = 0  # bytes that the page takes from the budget
        self.publications = publications
        self._cache = cache
        self._budget = budget
        self._frames: dict[Hashable, ReplayFrames] = {}  # by audience
        self._lines = 0  # bytes of all lines
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
        """The pieces of frames that send queues may share with this page."""
        return chain.from_iterable(frames.pieces for frames in self._frames.values())

    def append(self, publication: Publication) -> None:
        self.publications.append(publication)
        self._count([publication])

    def _count(self, publications: list[Publication]) -> None:
        size = _size(publications)
        self._lines += size
        self._budget.take(self, size)

    def slice(self, subscription: Subscription[SubscriberT], offset: int) -> tuple[list[bytes], int]:
        """Return the next messages after an offset for a subscription, and the offset that they reach."""
        frames = self._frames_of(subscription)
        if subscription.selector.reader in frames.excluded:
            rest = self.publications[self._index(offset) :]
            return own_slice(subscription, rest, offset, SLICE_BYTES)
        return frames.after(offset, SLICE_BYTES)

    def _frames_of(self, subscription: Subscription[SubscriberT]) -> ReplayFrames:
        frames = self._frames.get(subscription.audience)
        if frames is None:
            frames = ReplayFrames(subscription.codec, subscription.channel, subscription.selector.shared)
            self._frames[subscription.audience] = frames
        before = frames.size
        for publication in self.publications[frames.publications :]:
            frames.extend(publication)
        self._budget.take(self, frames.size - before)
        return frames

    def publication_after(self, offset: int) -> Publication:
        return self.publications[self._index(offset)]

    def _index(self, offset: int) -> int:
        """Return the index of the first publication that has a message beyond `offset`."""
        return bisect_right(self.publications, offset, key=_last)

    def go(self) -> None:
        self._budget.give_back(self)
        self._cache.drop(self)


class ReplayCache:
    """Pages of one epoch of a topic, up to `end`, the position of the topic."""

    def __init__(self, at: Position, entries: int, budget: ReplayBudget) -> None:
        self.end = at
        self.is_used = True  # since recovery last checked and reset it
        self._entries = entries  # that history keeps; older ones are not promised to a client, even if cached
        self._budget: ReplayBudget | None = budget  # None after `close`
        self._pages: list[Page] = []  # in order, without overlap
        self._wanted: Counter[int] = Counter()  # offsets after which clients wait for history
        self._lost = -1  # the highest offset that history was found not to reach; -1: none

    def __repr__(self) -> str:
        return f"<ReplayCache {len(self._pages)} pages up to {self.end}>"

    def coverage(self, offset: int) -> Coverage:
        """Tell what the cache has for a client that has seen this epoch up to `offset`, below `end`."""
        if self._page_after(offset) is not None:
            return Coverage.COVERED
        return Coverage.LOST if offset <= self._lost else Coverage.UNREAD

    def is_kept(self, offset: int) -> bool:
        """Whether what follows a COVERED offset is within the number of entries that history keeps."""
        page = self._page_after(offset)
        return page is not None and page.publication_after(offset).last > self.end.offset - self._entries

    def slice(self, subscription: Subscription[SubscriberT], offset: int) -> tuple[list[bytes], int]:
        """Return a subscription's next messages after a COVERED offset, and the offset that they reach.

        The messages are ready to write; the list is empty if none is for this subscription.
        """
        page = self._page_after(offset)
        assert page is not None, "covered"
        assert self._budget is not None, "what is closed has no pages"
        self.is_used = True
        self._budget.touch(page)
        return page.slice(subscription, offset)

    def to_choose_from(self, offset: int) -> list[Publication]:
        """Publications that include all from which the next slice after a COVERED offset is chosen."""
        page = self._page_after(offset)
        assert page is not None, "covered"
        return page.publications

    def _page_after(self, offset: int) -> Page | None:
        """Return the page with the message that follows an offset, if there is one."""
        index = bisect_right(self._pages, offset, key=_last)
        found = index < len(self._pages) and self._pages[index].first <= offset + 1
        return self._pages[index] if found else None

    # Follow the topic

    def append(self, publication: Publication) -> bool:
        """Add a delivered publication; False if there is a hole before it: then close the cache."""
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
        """Remove a page that was evicted."""
        if page in self._pages:
            self._pages.remove(page)

    def close(self) -> None:
        """Return all bytes to the budget; the cache takes no publication from now on."""
        for page in list(self._pages):
            page.go()
        self._budget = None

    # Read history

    def want(self, offset: int) -> None:
        """Record that a client waits for the messages after an UNREAD offset."""
        self._wanted[offset] += 1

    def want_no_more(self, offset: int) -> None:
        self._wanted[offset] -= 1
        if not self._wanted[offset]:
            del self._wanted[offset]

    def next_to_read(self) -> tuple[Position, int]:
        """Choose the range of history to read next, so that one page serves most waiting clients.

        It begins at the oldest wanted offset, or at the middle one once history was found not to reach:
        however many clients want what history no longer has, they learn it after a few reads.
        """
        offsets = sorted(offset for offset in self._wanted if self.coverage(offset) is Coverage.UNREAD)
        since = offsets[0 if self._lost == -1 else len(offsets) // 2]
        return Position(self.end.epoch, since), self._end_of_hole(since)

    def _end_of_hole(self, offset: int) -> int:
        """Return the last offset of the hole that follows `offset`."""
        index = bisect_right(self._pages, offset, key=_last)
        return self._pages[index].first - 1 if index < len(self._pages) else self.end.offset

    def look_back(self, since: Position, page: list[Publication] | None) -> None:
        """Add the page of history after `since`, without what is cached; None: history does not reach."""
        if self._budget is None:
            return
        until = self._end_of_hole(since.offset)
        found = _up_to(until, page or [])
        if found and _is_whole(since, found):
            self._add(found)
        elif since.offset < until:
            self._lost = max(self._lost, since.offset)


def _up_to(end: int, publications: Iterable[Publication]) -> list[Publication]:
    """Cut publications off after the offset `end`: a page of history may go beyond it."""
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
