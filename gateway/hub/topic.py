"""A topic's continuity: which publications follow each other, and what is held until a hole is filled.

Publications come in from Redis and from history, and leave as steps, in order; the steps are delivered to the
subscribers at once or, where a stage waits, later. A topic is LIVE while every message of it is known to
arrive.

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

# Held back of one topic while history is read; beyond it the oldest go, and history is read again.
MAX_HELD_PUBLICATIONS = 1_000
MAX_HELD_BYTES = 16 * 1024 * 1024

NOWHERE = Position("", 0)


class TopicState(Enum):
    """Whether the messages of a topic are known to arrive."""

    JOINING = auto()  # never was live
    LIVE = auto()
    BEHIND = auto()  # was live, and may have missed something


_MOVES = {
    (TopicState.JOINING, TopicState.LIVE),
    (TopicState.LIVE, TopicState.BEHIND),
    (TopicState.BEHIND, TopicState.LIVE),
}


@dataclass(frozen=True, slots=True)
class Resynced:
    """History does not reach: the topic goes on from this position, and its subscribers read anew."""

    position: Position


@dataclass(frozen=True, slots=True)
class RosterRead:
    """Who is present as Redis has it at this position, by entry; subscribers that have a list get another."""

    position: Position
    members: dict[bytes, bytes]
    is_news: bool  # there may be such subscribers


Step = Publication | Resynced | RosterRead  # what is to be delivered, in order


class Topic(Generic[SubscriberT]):
    """One stream of messages, and everyone on this node who listens to it."""

    def __init__(self, name: str) -> None:
        self.state = TopicState.JOINING
        self.ordered = NOWHERE  # the position of the last step; means nothing while JOINING
        self.position = NOWHERE  # of the last step that was delivered: behind `ordered` while a stage waits
        self.held: list[Publication] = []  # came while not LIVE, by this connection to Redis
        self.held_bytes = 0
        self.queued_bytes = 0  # of steps that wait for a stage
        self.subscribers: Subscribers[SubscriberT] = Subscribers()
        self.joiners = 0  # subscribers on their way in, for whom the topic must stay
        self.replay_cache: ReplayCache | None = None  # for those who come back; up to `position`
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
        """Whether nothing was ever published in this epoch."""
        return not self.ordered.offset

    # What happens to it

    def received(self, publication: Publication) -> list[Step]:
        """Take in what Redis published. A topic that turns BEHIND by it has to be caught up."""
        if self.state is not TopicState.LIVE:
            self._hold(publication)
            return []
        if self._follows(publication):
            return [self._order(publication)]
        if publication.epoch == self.ordered.epoch and publication.last <= self.ordered.offset:
            return []  # history brought it before
        self._enter(TopicState.BEHIND)  # not held: history has it by now, or another one has begun
        return []

    def lose(self) -> None:
        """Messages may have been missed from here on, if it is LIVE; what was held is not handed on."""
        self._release()  # history has it, or Redis lost it: then it must not come after the `resync`
        if self.is_live:
            self._enter(TopicState.BEHIND)

    def missed(self, page: Iterable[Publication]) -> list[Step]:
        """Order a part of what a BEHIND topic missed, which follows its position; it stays BEHIND."""
        if self.state is not TopicState.BEHIND:
            return []
        return [self._order(publication) for publication in page]

    def caught_up(self, position: Position, missed: list[Publication] | None) -> list[Step]:
        """Make it LIVE at `position`, after it got what it missed; None: history does not reach.

        It may be BEHIND again afterwards, when what was held back has a hole of its own.
        """
        if self.is_live:
            return []
        steps: list[Step] = []
        if self.state is TopicState.JOINING:
            self.ordered = self.position = position
            self.forget()
        elif missed is None:
            self.ordered = position
            self.forget()
            steps.append(Resynced(position))
        else:  # history may have brought more than was asked for
            steps += [self._order(publication) for publication in missed]
        self._enter(TopicState.LIVE)
        return steps + self._go_on()

    def roster_read(self, position: Position, members: dict[bytes, bytes]) -> list[Step]:
        """Make a presence topic LIVE as it is in Redis at `position`."""
        if self.is_live or self.roster is None:
            return []
        was_behind = self.state is TopicState.BEHIND
        self.ordered = position
        self._enter(TopicState.LIVE)
        return [RosterRead(position, members, was_behind), *self._go_on()]

    def rewind(self) -> None:
        """Give up what was ordered and not delivered: it has to be read of history, or be told as lost."""
        self.ordered = self.position
        self.lose()

    def forget(self) -> None:
        """Let go of what is cached for replays: history is asked again."""
        if self.replay_cache is not None:
            self.replay_cache.close()
            self.replay_cache = None

    def shed(self) -> None:
        """Keep of what is held the last alone, which shows the hole: history is read again."""
        if len(self.held) > 1:
            del self.held[:-1]
            self.held_bytes = size_of(self.held[0])

    # How

    def _enter(self, state: TopicState) -> None:
        """The one place where the state changes."""
        assert (self.state, state) in _MOVES, f"{self.state} to {state}"
        self.state = state
        if state is TopicState.BEHIND:
            self.forget()  # what Redis has of it may not be what it had

    def _follows(self, publication: Publication) -> bool:
        """Whether nothing lies between; parts of the publication may have been there before.

        A new epoch of a topic whose messages add up to a state means that Redis lost that state. A
        publication without lines says so of any topic: it begins an epoch since something was lost before it.
        """
        at = self.ordered
        if publication.epoch == at.epoch:
            return publication.first <= at.offset + 1 <= publication.last
        if replid_of(publication.epoch) != replid_of(at.epoch):
            return False  # Redis may have lost what came between
        # Redis forgot the epoch of a topic that was quiet, or where nobody was present, for a while.
        is_beginning = publication.first == 1 and bool(publication.lines)
        return is_beginning and (at.offset == 0 or not self._has_state)

    @property
    def _has_state(self) -> bool:
        """Whether its messages add up to something that is lost with their epoch."""
        if self.roster is not None:
            return not self.roster.is_empty or self.ordered != self.position
        return self._is_table

    def _order(self, publication: Publication) -> Publication:
        if publication.epoch == self.ordered.epoch:
            publication = publication.after(self.ordered.offset)
        self.ordered = Position(publication.epoch, publication.last)
        return publication

    def _go_on(self) -> list[Step]:
        """Order what was held back of a topic that has just turned LIVE."""
        steps: list[Step] = []
        for publication in self._release():
            if publication.epoch != self.ordered.epoch:
                # Which of the two epochs is over is not known here: Redis is asked again.
                self._enter(TopicState.BEHIND)
            else:
                steps += self.received(publication)
            if not self.is_live:
                break  # the rest came before history is read again
        return steps

    def _hold(self, publication: Publication) -> None:
        """Keep what came while not LIVE. The last always stays: without it nobody would see the hole."""
        self.held.append(publication)
        self.held_bytes += size_of(publication)
        while len(self.held) > 1 and (
            len(self.held) > MAX_HELD_PUBLICATIONS or self.held_bytes > MAX_HELD_BYTES
        ):
            del self.held[: len(self.held) // 2]
            self.held_bytes = sum(map(size_of, self.held))

    def _release(self) -> list[Publication]:
        """Return what was held, and hold it no more."""
        held, self.held, self.held_bytes = self.held, [], 0
        return held


def size_of(publication: Publication) -> int:
    """Bytes that a publication takes."""
    return sum(len(line) + LINE_BYTES for line in publication.lines)
