"""A topic's continuity: which publications follow each other, and which are held until a hole is filled.

Publications come in from Redis and from history, and leave as ordered steps; `delivery` sends the steps to
subscribers at once, or later while a stage waits. A topic is LIVE while all its messages are known to arrive.

    JOINING ──caught up──▶ LIVE ──gap or lost connection──▶ BEHIND ──caught up──▶ LIVE
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic

from gateway.hub.replay_cache import LINE_BYTES, ReplayCache
from gateway.hub.roster import Roster
from gateway.hub.subscribers import Subscribers, SubscriberT
from realtime.channels import is_presence_topic, is_table_topic
from realtime.publications import Position, Publication, replid_of

# Limits of what one topic holds while history is read; beyond them the oldest are dropped and read again.
MAX_HELD_PUBLICATIONS = 1_000
MAX_HELD_BYTES = 16 * 1024 * 1024

NOWHERE = Position("", 0)


class TopicState(Enum):
    """Whether all messages of a topic are known to arrive."""

    JOINING = auto()  # was never LIVE
    LIVE = auto()
    BEHIND = auto()  # was LIVE, and may have missed messages


_MOVES = {
    (TopicState.JOINING, TopicState.LIVE),
    (TopicState.LIVE, TopicState.BEHIND),
    (TopicState.BEHIND, TopicState.LIVE),
}


@dataclass(frozen=True, slots=True)
class Resynced:
    """History lacks a part: the topic resumes at this position, and subscribers read their data again."""

    position: Position


@dataclass(frozen=True, slots=True)
class RosterRead:
    """The entries of a presence topic in Redis at a position; subscribers with an older list get this one."""

    position: Position
    members: dict[bytes, bytes]
    is_news: bool  # subscribers may have an older list


Step = Publication | Resynced | RosterRead  # the topic's steps are delivered in order


class Topic(Generic[SubscriberT]):
    """One stream of messages, and its subscribers on this node."""

    __slots__ = (
        "_is_table",
        "_max_held_bytes",
        "held",
        "held_bytes",
        "joiners",
        "ordered",
        "position",
        "queued_bytes",
        "replay_cache",
        "roster",
        "state",
        "subscribers",
    )

    def __init__(self, name: str, max_held_bytes: int = MAX_HELD_BYTES) -> None:
        self.state = TopicState.JOINING
        self.ordered = NOWHERE  # the position of the last step; has no meaning while JOINING
        self.position = NOWHERE  # of the last delivered step; behind `ordered` while a stage waits
        self.held: list[Publication] = []  # arrived over this Redis connection while not LIVE
        self.held_bytes = 0
        self._max_held_bytes = max_held_bytes
        self.queued_bytes = 0  # of ordered steps that wait for a stage
        self.subscribers: Subscribers[SubscriberT] = Subscribers()
        self.joiners = 0  # clients that are joining; the topic stays open for them
        self.replay_cache: ReplayCache | None = None  # for clients that reconnect; up to `position`
        self.roster = Roster(name) if is_presence_topic(name) else None
        self._is_table = is_table_topic(name)

    def __repr__(self) -> str:
        return f"<Topic {self.state.name} at {self.position}, {self.subscribers!r}>"

    @property
    def is_live(self) -> bool:
        return self.state is TopicState.LIVE

    @property
    def is_idle(self) -> bool:
        return not self.subscribers and not self.joiners

    @property
    def is_empty(self) -> bool:
        """Whether nothing was published in this epoch."""
        return not self.ordered.offset

    # Events

    def received(self, publication: Publication) -> list[Step]:
        """Order or hold a publication from Redis. The caller catches the topic up if it becomes BEHIND."""
        if self.state is not TopicState.LIVE:
            self._hold(publication)
            return []
        if self._follows(publication):
            return [self._order(publication)]
        if publication.epoch == self.ordered.epoch and publication.last <= self.ordered.offset:
            return []  # it already came from history
        self._enter(TopicState.BEHIND)  # not held: history has it by now, or a new epoch has begun
        return []

    def lose(self) -> None:
        """Make a LIVE topic BEHIND, since messages may be missed from now on; drop what is held."""
        self._release()  # history has it, or Redis lost it: then it must not follow the `resync`
        if self.is_live:
            self._enter(TopicState.BEHIND)

    def missed(self, page: Iterable[Publication]) -> list[Step]:
        """Order a page that a BEHIND topic missed and that follows its position; the topic stays BEHIND."""
        if self.state is not TopicState.BEHIND:
            return []
        return [self._order(publication) for publication in page]

    def caught_up(self, position: Position, *, is_lost: bool = False) -> list[Step]:
        """Make the topic LIVE, since it has ordered all that history has up to `position`.

        If history does not reach (`is_lost`), subscribers get `resync` with this position.
        The topic may be BEHIND again on return, if there is a hole in what it held.
        """
        if self.is_live:
            return []
        steps: list[Step] = []
        if self.state is TopicState.JOINING:
            self.ordered = self.position = position
            self.forget()
        elif is_lost:
            self.ordered = position
            self.forget()
            steps.append(Resynced(position))
        self._enter(TopicState.LIVE)
        return steps + self._go_on()

    def roster_read(self, position: Position, members: dict[bytes, bytes]) -> list[Step]:
        """Make a presence topic LIVE with the members that Redis has at `position`."""
        if self.is_live or self.roster is None:
            return []
        was_behind = self.state is TopicState.BEHIND
        self.ordered = position
        self._enter(TopicState.LIVE)
        return [RosterRead(position, members, was_behind), *self._go_on()]

    def rewind(self) -> None:
        """Drop steps that were ordered but not delivered: they are read from history, or reported as lost."""
        self.ordered = self.position
        self.lose()

    def forget(self) -> None:
        """Drop the replay cache; the next replay reads history again."""
        if self.replay_cache is not None:
            self.replay_cache.close()
            self.replay_cache = None

    def shed(self) -> None:
        """Drop all held publications but the last, which reveals the hole; history is read again."""
        if len(self.held) > 1:
            del self.held[:-1]
            self.held_bytes = size_of(self.held[0])

    # Helpers

    def _enter(self, state: TopicState) -> None:
        """Change the state; no other function does."""
        assert (self.state, state) in _MOVES, f"{self.state} to {state}"
        self.state = state
        if state is TopicState.BEHIND:
            self.forget()  # the cache may differ from what Redis has now

    def _follows(self, publication: Publication) -> bool:
        """Whether there is no hole before the publication, which may overlap what is ordered already.

        A new epoch of a topic whose messages add up to a state means that Redis lost that state. A
        publication without lines means for any topic that messages were lost before this new epoch.
        """
        at = self.ordered
        if publication.epoch == at.epoch:
            return publication.first <= at.offset + 1 <= publication.last
        if replid_of(publication.epoch) != replid_of(at.epoch):
            return False  # Redis may have lost messages between the two
        # Redis deletes the epoch of a topic that was quiet, or had nobody present, for a while.
        is_beginning = publication.first == 1 and bool(publication.lines)
        return is_beginning and (at.offset == 0 or not self._has_state)

    @property
    def _has_state(self) -> bool:
        """Whether the topic's messages add up to a state that is lost with their epoch."""
        if self.roster is not None:
            return not self.roster.is_empty or self.ordered != self.position
        return self._is_table

    def _order(self, publication: Publication) -> Publication:
        if publication.epoch == self.ordered.epoch:
            publication = publication.after(self.ordered.offset)
        self.ordered = Position(publication.epoch, publication.last)
        return publication

    def _go_on(self) -> list[Step]:
        """Order what was held of a topic that has just become LIVE."""
        steps: list[Step] = []
        for publication in self._release():
            if publication.epoch != self.ordered.epoch:
                # It is unknown here which of the two epochs has ended: the topic asks Redis again.
                self._enter(TopicState.BEHIND)
            else:
                steps += self.received(publication)
            if not self.is_live:
                break  # history, which is read again, has the rest
        return steps

    def _hold(self, publication: Publication) -> None:
        """Hold a publication that arrived while not LIVE. The last one always stays: it reveals the hole."""
        self.held.append(publication)
        self.held_bytes += size_of(publication)
        while len(self.held) > 1 and (
            len(self.held) > MAX_HELD_PUBLICATIONS or self.held_bytes > self._max_held_bytes
        ):
            del self.held[: len(self.held) // 2]
            self.held_bytes = sum(map(size_of, self.held))

    def _release(self) -> list[Publication]:
        """Return what was held, and clear it."""
        held, self.held, self.held_bytes = self.held, [], 0
        return held


def size_of(publication: Publication) -> int:
    """Return the bytes of memory that a publication takes."""
    return sum(len(line) + LINE_BYTES for line in publication.lines)
