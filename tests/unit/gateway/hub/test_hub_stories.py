"""The hub in any order of events: random stories, of which each subscriber hears all, or `resync`."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from gateway.hub.replay_cache import Coverage, ReplayBudget, ReplayCache
from gateway.hub.subscribers import subscription
from gateway.hub.topic import TopicState
from realtime.channels import Event, parse_channel
from realtime.publications import Position, Publication
from tests.hub_fixture import EVERYTHING, NATIVE, Play, at, begun_anew, line, payloads

ALL = subscription("all", parse_channel(EVERYTHING), "", NATIVE)


@dataclass
class Redis:
    """A topic's history, and the wire to the hub on which publications wait, get lost or come twice."""

    epoch: int = 0
    log: list[Publication] = field(default_factory=list)
    kept_from: int = 0  # index in `log` of the oldest that history still has
    wire: list[Publication] = field(default_factory=list)

    @property
    def position(self) -> Position:
        return at(self.log[-1].last if self.log else 0, f"e{self.epoch}")

    def publish(self, events: list[Event]) -> Publication:
        new = Publication(f"e{self.epoch}", self.position.offset + 1, [line(event) for event in events])
        self.log.append(new)
        return new

    def missed(self, since: Position, until: Position) -> list[Publication] | None:
        if since.epoch != until.epoch or since.offset > until.offset:
            return None
        wanted = [each for each in self.log if each.last > since.offset]
        if wanted and wanted[0] is not self.log[0] and self.log.index(wanted[0]) < self.kept_from:
            return None
        return [each.after(since.offset) for each in wanted]

    def forget_everything(self) -> None:
        self.epoch += 1
        self.log, self.kept_from, self.wire = [], 0, []

    def begin_anew(self) -> None:
        self.forget_everything()
        self.wire = [begun_anew(f"e{self.epoch}")]


class Chaos:
    """Plays one random story, with `reading` as the history that a catch-up in progress has read."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.redis = Redis()
        self.play = Play(live_at=self.redis.position)
        self.play.join("all")
        for event in Event:
            self.play.join(event.value, f"table:users:{event}")
        self.events: dict[str, Event] = {}  # of every message, by id
        self.reading: tuple[Position, list[Publication] | None] | None = None
        self.room = ReplayBudget(self.chance.choice([400, 10**6]))
        self.recovered = 0  # clients that came back and got what they missed
        self.haste = 0.3  # how often more is published while history is read

    def publish(self) -> None:
        events = self.chance.choices(list(Event), k=self.chance.randint(1, 3))
        new = self.redis.publish(events)
        self.events |= {f"{new.epoch}-{new.first + n}": event for n, event in enumerate(events)}
        fate = self.chance.random()
        if fate > 0.1:
            self.redis.wire.append(new)
        if fate > 0.9 and new.first > 1:
            self.redis.wire.append(new)

    def arrive(self) -> None:
        if self.redis.wire:
            self.play.publish(self.redis.wire.pop(0))

    def catch_up(self) -> None:
        """Read history, or hand it to the hub: what arrives in between is held back."""
        if self.reading is not None:
            position, missed = self.reading
            part = self.chance.randint(0, len(missed or []))  # comes as a page of its own
            self.play.miss(*(missed or [])[:part])
            self.play.catch_up(position, missed and missed[part:])
            self.reading = None
        elif self.play.topic.state is not TopicState.LIVE:
            until = self.redis.position
            if self.chance.random() < self.haste:
                self.publish()
            self.reading = until, self.redis.missed(self.play.topic.position, until)

    def come_back(self) -> None:
        """A client that saw some of what "all" heard asks for the rest of it, as it is remembered."""
        topic, heard = self.play.topic, self.play.inbox["all"]
        if topic.replay_cache is None:
            topic.replay_cache = ReplayCache(topic.position, 1_000, self.room)
        assert topic.replay_cache.end == topic.position
        since = self.chance.choice(heard or [""])
        offset = int(since.rpartition("-")[2] or -1)
        if since.startswith(f"{topic.position.epoch}-") and offset < topic.position.offset:
            told: list[str] = []
            while offset < topic.position.offset and self.finds(topic.replay_cache, offset):
                pieces, offset = topic.replay_cache.slice(ALL, offset)
                told += [message["id"] for message in payloads(b"".join(pieces))]
            expected = heard[heard.index(since) + 1 :]
            assert told == expected[: len(told)]
            if offset == topic.position.offset:
                assert told == expected
                self.recovered += 1

    def finds(self, memory: ReplayCache, offset: int) -> bool:
        """Have a page at hand that begins behind an offset; it holds a few publications."""
        memory.want(offset)
        if memory.coverage(offset) is Coverage.UNREAD:
            since, until = memory.next_to_read()
            page = self.redis.missed(since, at(until, memory.end.epoch))
            memory.look_back(since, page and page[: self.chance.randint(1, 4)])
        memory.want_no_more(offset)
        return memory.coverage(offset) is Coverage.COVERED

    def lose_connection(self) -> None:
        self.redis.wire.clear()
        self.reading = None
        self.play.lose()

    def trim(self) -> None:
        self.redis.kept_from = max(self.redis.kept_from, len(self.redis.log) - 2)

    def run(self, steps: int) -> None:
        rare = [self.lose_connection, self.trim, self.redis.forget_everything, self.redis.begin_anew]
        for _ in range(steps):
            (step,) = self.chance.choices(
                [self.publish, self.arrive, self.catch_up, self.come_back, *rare],
                [30, 40, 25, 10, 2, 2, 0.5, 0.5],
            )
            step()
        self.haste = 0
        self.lose_connection()
        for _ in range(10):
            self.catch_up()


@pytest.mark.parametrize("seed", range(150))
def test_a_subscriber_gets_every_message_once_and_in_order_or_a_resync_over_the_hole(seed):
    chaos = Chaos(seed)
    chaos.run(300)
    assert chaos.play.topic.state is TopicState.LIVE
    assert chaos.play.topic.position == chaos.redis.position
    epoch, offset = "e0", 0
    for said in chaos.play.inbox["all"]:
        what, _, position = said.rpartition(" ")
        new_epoch, number = position.split("-")
        assert int(new_epoch[1:]) >= int(epoch[1:]), said
        if not what:
            assert new_epoch == epoch or offset == 0, said
            assert int(number) == offset + 1, said
        epoch, offset = new_epoch, int(number)
    assert at(offset, epoch) == chaos.redis.position
    heard = [said for said in chaos.play.inbox["all"] if not said.startswith("resync")]
    assert len(heard) == len(set(heard))


def test_those_who_come_back_get_what_the_others_heard_meanwhile():
    stories = [Chaos(seed) for seed in range(50)]
    for story in stories:
        story.run(300)
    assert sum(story.recovered for story in stories) > 100  # each of which was compared


@pytest.mark.parametrize("seed", range(20))
def test_event_channels_hear_their_part_of_the_same_story(seed):
    chaos = Chaos(seed)
    chaos.run(300)
    for event in Event:
        assert chaos.play.inbox[event.value] == [
            said for said in chaos.play.inbox["all"] if chaos.events.get(said, event) is event
        ]
