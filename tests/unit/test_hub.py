"""The hub, told as small plays: what Redis published, and what each socket was sent in the end."""

import json
import random
import struct
from collections import defaultdict
from dataclasses import dataclass, field

import pytest

from gateway.hub import MAX_HELD_PUBLICATIONS, Hub, TopicState
from gateway.recollection import Reach, Recollection, Room
from realtime.channels import Event, Table, parse_channel
from realtime.publications import Position, Publication, change_line, line_prefix

KEY = ("demo", "table:public.users")
USERS = Table("public", "users")
EVERYTHING = "table:users"


def line(event: Event = Event.INSERT) -> bytes:
    return change_line(line_prefix(USERS, event), "{}", None, "2024-05-01T10:00:00.000000Z", False).encode()


def publication(first: int, last: int | None = None, epoch: str = "e") -> Publication:
    return Publication(epoch, first, [line()] * ((last or first) - first + 1))


def at(offset: int, epoch: str = "e") -> Position:
    return Position(epoch, offset)


def payloads(stream: bytes):
    while stream:
        length, start = stream[1], 2
        if length == 126:
            (length,), start = struct.unpack("!H", stream[2:4]), 4
        yield json.loads(stream[start : start + length])
        stream = stream[start + length :]


class Play:
    """A hub with sockets that keep what they are sent: the id of each change, or `resync POSITION`."""

    def __init__(self, *, live_at: Position | None = None) -> None:
        self.hub: Hub[str] = Hub()
        self.inbox: dict[str, list[str]] = defaultdict(list)
        self.channels: dict[str, set[str]] = defaultdict(set)
        self.topic = self.hub.open(KEY)
        if live_at is not None:
            self.catch_up(live_at)

    def join(self, socket: str, name: str = EVERYTHING) -> None:
        self.hub.add(KEY, parse_channel(name), socket)

    def leave(self, socket: str, name: str = EVERYTHING) -> None:
        self.hub.remove(KEY, parse_channel(name), socket)

    def publish(self, *publications: Publication) -> None:
        for each in publications:
            self._deliver(self.hub.received(KEY, each))

    def catch_up(self, position: Position, missed: list[Publication] | None = None) -> None:
        self._deliver(self.hub.caught_up(KEY, position, missed))

    def _deliver(self, deliveries) -> None:
        for delivery in deliveries:
            for message in payloads(b"".join(delivery.pieces)):
                said = message["id"] if message["type"] == "realtime" else f"resync {message['position']}"
                for socket in delivery.sockets:
                    self.inbox[socket].append(said)
                    self.channels[socket].add(message["channel"])


@pytest.fixture
def play() -> Play:
    """A live topic at e-5 with one subscriber, Ann."""
    play = Play(live_at=at(5))
    play.join("ann")
    return play


# A live topic


def test_a_live_topic_hands_on_what_follows(play):
    play.publish(publication(6), publication(7, 9))
    assert play.inbox["ann"] == ["e-6", "e-7", "e-8", "e-9"]
    assert play.topic.position == at(9)


def test_all_subscribers_hear_the_same(play):
    play.join("bob")
    play.publish(publication(6, 8))
    assert play.inbox["ann"] == play.inbox["bob"] == ["e-6", "e-7", "e-8"]


def test_a_newcomer_hears_the_next_message_first(play):
    play.publish(publication(6))
    play.join("bob")
    play.publish(publication(7))
    assert play.inbox["bob"] == ["e-7"]


def test_joining_twice_is_hearing_once(play):
    play.join("ann")
    play.publish(publication(6))
    assert play.inbox["ann"] == ["e-6"]


def test_who_left_hears_nothing_more(play):
    play.leave("ann")
    play.publish(publication(6))
    assert play.inbox["ann"] == []
    assert play.topic.position == at(6)


def test_leaving_what_one_is_not_in_does_nothing(play):
    play.leave("bob")
    play.leave("ann", "table:public.users")
    play.hub.remove(("demo", "room:a"), parse_channel("room:a"), "ann")
    play.publish(publication(6))
    assert play.inbox["ann"] == ["e-6"]


def test_two_spellings_of_a_table_hear_one_feed_each_by_its_own_name(play):
    play.join("bob", "table:public.users")
    play.publish(publication(6))
    assert play.inbox["ann"] == play.inbox["bob"] == ["e-6"]
    assert (play.channels["ann"], play.channels["bob"]) == ({"table:users"}, {"table:public.users"})


def test_one_socket_with_two_spellings_hears_each_change_by_both(play):
    play.join("ann", "table:public.users")
    play.publish(publication(6))
    assert play.inbox["ann"] == ["e-6", "e-6"]
    play.leave("ann", "table:users")
    play.publish(publication(7))
    assert play.inbox["ann"] == ["e-6", "e-6", "e-7"]


def test_an_event_channel_hears_its_events_alone(play):
    for event in Event:
        play.join(event.value, f"table:users:{event}")
    play.publish(
        Publication("e", 6, [line(Event.INSERT), line(Event.UPDATE), line(Event.DELETE), line(Event.INSERT)])
    )
    assert (play.inbox["INSERT"], play.inbox["UPDATE"], play.inbox["DELETE"]) == (
        ["e-6", "e-9"],
        ["e-7"],
        ["e-8"],
    )
    assert play.inbox["ann"] == ["e-6", "e-7", "e-8", "e-9"]


def test_topics_and_projects_do_not_mix():
    play = Play(live_at=at(5))
    play.join("ann")
    other = ("other", KEY[1])
    play.hub.open(other)
    play.hub.caught_up(other, at(5), None)
    assert play.hub.received(other, publication(6)) == []
    assert play.topic.position == at(5)


def test_what_nobody_asked_for_is_dropped():
    assert Hub().received(KEY, publication(1)) == []
    assert Hub().caught_up(KEY, at(1), []) == []


# Again, and overlapping


def test_what_came_before_is_not_handed_on_again(play):
    play.publish(publication(6, 7), publication(6, 7), publication(5), publication(1, 7))
    assert play.inbox["ann"] == ["e-6", "e-7"]
    assert play.topic.state is TopicState.LIVE


def test_of_an_overlap_only_the_new_part_is_handed_on(play):
    play.publish(publication(4, 7), publication(7, 8))
    assert play.inbox["ann"] == ["e-6", "e-7", "e-8"]


# A hole


def test_after_a_hole_nothing_is_handed_on_until_history_filled_it(play):
    play.publish(publication(8))
    assert play.topic.state is TopicState.BEHIND
    play.publish(publication(9))
    assert play.inbox["ann"] == []
    play.catch_up(at(9), [publication(6, 7), publication(8), publication(9)])
    assert play.inbox["ann"] == ["e-6", "e-7", "e-8", "e-9"]
    assert play.topic.state is TopicState.LIVE


def test_what_came_while_history_was_read_follows_it_once(play):
    play.hub.fell_behind()
    play.publish(publication(8), publication(9), publication(10))
    play.catch_up(at(8), [publication(6, 8)])
    assert play.inbox["ann"] == ["e-6", "e-7", "e-8", "e-9", "e-10"]


def test_history_may_bring_more_than_was_asked_for(play):
    play.hub.fell_behind()
    play.publish(publication(7), publication(8), publication(9))
    play.catch_up(at(6), [publication(6), publication(7), publication(8)])
    assert play.inbox["ann"] == ["e-6", "e-7", "e-8", "e-9"]
    assert play.topic.position == at(9)


def test_a_hole_in_what_was_held_back_is_filled_too(play):
    play.hub.fell_behind()
    play.publish(publication(7), publication(9))
    play.catch_up(at(6), [publication(6)])
    assert play.inbox["ann"] == ["e-6", "e-7"]
    assert play.topic.state is TopicState.BEHIND
    play.catch_up(at(9), [publication(8), publication(9)])
    assert play.inbox["ann"] == ["e-6", "e-7", "e-8", "e-9"]
    assert play.topic.state is TopicState.LIVE


def test_a_lost_subscription_that_missed_nothing_goes_on_in_silence(play):
    play.hub.fell_behind()
    play.catch_up(at(5), [])
    play.publish(publication(6))
    assert play.inbox["ann"] == ["e-6"]


def test_catching_up_a_live_topic_changes_nothing(play):
    play.catch_up(at(3), [publication(1, 3)])
    play.catch_up(at(3), None)
    play.publish(publication(6))
    assert play.inbox["ann"] == ["e-6"]


def test_who_joins_a_topic_that_is_behind_hears_from_its_position_on(play):
    play.hub.fell_behind()
    play.join("bob")
    play.catch_up(at(6), [publication(6)])
    assert play.inbox["bob"] == ["e-6"]


def test_a_flood_while_history_is_read_is_bounded_and_loses_nothing(play):
    play.hub.fell_behind()
    last = 5 + 2 * MAX_HELD_PUBLICATIONS
    play.publish(*(publication(offset) for offset in range(6, last + 1)))
    assert len(play.topic.held) <= MAX_HELD_PUBLICATIONS
    play.catch_up(at(6), [publication(6)])
    assert play.topic.state is TopicState.BEHIND
    play.catch_up(at(last), [publication(7, last)])
    assert play.inbox["ann"] == [f"e-{offset}" for offset in range(6, last + 1)]


# History that does not reach


def test_a_hole_that_history_cannot_fill_is_told_to_everyone(play):
    play.join("bob", "table:users:DELETE")
    play.hub.fell_behind()
    play.publish(publication(21))
    play.catch_up(at(20), None)
    assert play.inbox["ann"] == ["resync e-20", "e-21"]
    assert play.inbox["bob"] == ["resync e-20"]
    assert play.channels["bob"] == {"table:users:DELETE"}


def test_a_new_epoch_is_told_and_goes_on_from_its_position(play):
    play.publish(publication(1, epoch="f"))
    assert (play.topic.state, play.inbox["ann"]) == (TopicState.BEHIND, [])
    play.catch_up(at(2, "f"), None)
    play.publish(publication(3, epoch="f"))
    assert play.inbox["ann"] == ["resync f-2", "f-3"]


def test_what_was_held_back_of_an_epoch_that_ended_does_not_come_again_and_again(play):
    play.publish(publication(8))
    play.publish(publication(9), publication(10))
    play.catch_up(at(0, "f"), None)
    play.catch_up(at(0, "f"), [])
    assert play.topic.state is TopicState.LIVE
    play.publish(publication(1, epoch="f"))
    assert play.inbox["ann"] == ["resync f-0", "f-1"]


def test_a_straggler_of_an_epoch_that_ended_does_no_harm():
    play = Play(live_at=at(3, "f"))
    play.join("ann")
    play.publish(publication(9))
    play.catch_up(at(3, "f"), [])
    play.publish(publication(4, epoch="f"))
    assert play.inbox["ann"] == ["f-4"]


def test_a_history_that_went_back_in_time_is_told(play):
    play.hub.fell_behind()
    play.catch_up(at(3), None)
    play.publish(publication(4))
    assert play.inbox["ann"] == ["resync e-3", "e-4"]


def test_an_empty_topic_whose_epoch_was_forgotten_goes_on_in_silence():
    play = Play(live_at=at(0))
    play.join("ann")
    play.publish(publication(1, 2, epoch="f"), publication(3, epoch="f"))
    assert play.inbox["ann"] == ["f-1", "f-2", "f-3"]


def test_an_empty_topic_that_missed_the_beginning_of_an_epoch_reads_it():
    play = Play(live_at=at(0))
    play.publish(publication(2, epoch="f"))
    assert play.topic.state is TopicState.BEHIND


# A topic that was begun anew, which a publication without lines tells


def begun_anew(epoch: str) -> Publication:
    return Publication(epoch, 1, [])


@pytest.mark.parametrize("offset", [0, 5])
def test_a_topic_that_was_begun_anew_is_told_as_resync_even_where_nothing_had_been_published(offset):
    play = Play(live_at=at(offset))
    play.join("ann")
    play.publish(begun_anew("f"))
    assert (play.topic.state, play.inbox["ann"]) == (TopicState.BEHIND, [])
    play.catch_up(at(0, "f"), None)
    play.publish(publication(1, epoch="f"))
    assert play.inbox["ann"] == ["resync f-0", "f-1"]


@pytest.mark.parametrize("offset", [0, 5])
def test_being_told_again_of_the_epoch_that_one_is_in_is_nothing(offset):
    play = Play(live_at=at(offset))
    play.join("ann")
    play.publish(begun_anew("e"))
    assert (play.topic.state, play.topic.position) == (TopicState.LIVE, at(offset))
    play.publish(publication(offset + 1))
    assert play.inbox["ann"] == [f"e-{offset + 1}"]


def test_a_new_beginning_that_history_had_shown_before_is_nothing(play):
    play.publish(publication(8), begun_anew("f"), publication(1, epoch="f"))
    play.catch_up(at(1, "f"), None)
    assert (play.topic.state, play.inbox["ann"]) == (TopicState.LIVE, ["resync f-1"])


def test_a_new_beginning_that_comes_while_history_is_read_is_told_after_it(play):
    play.hub.fell_behind()
    play.publish(publication(6), begun_anew("f"), publication(1, epoch="f"))
    play.catch_up(at(6), [publication(6)])
    assert play.topic.state is TopicState.BEHIND
    play.catch_up(at(1, "f"), None)
    play.publish(publication(2, epoch="f"))
    assert play.inbox["ann"] == ["e-6", "resync f-1", "f-2"]


def test_a_new_beginning_that_comes_while_a_topic_joins_is_told_to_nobody():
    play = Play()
    play.publish(begun_anew("f"), publication(1, epoch="f"))
    play.catch_up(at(0, "f"))
    play.join("ann")
    assert (play.topic.state, play.topic.position, play.inbox["ann"]) == (TopicState.LIVE, at(1, "f"), [])


# Joining


def test_a_topic_begins_by_joining_and_holds_back_what_comes():
    play = Play()
    assert play.topic.state is TopicState.JOINING
    play.join("ann")
    play.publish(publication(4), publication(5), publication(6))
    assert play.inbox["ann"] == []
    play.catch_up(at(5))
    assert play.inbox["ann"] == ["e-6"]
    assert play.topic.position == at(6)


def test_a_topic_that_joins_does_not_resync():
    play = Play()
    play.join("ann")
    play.catch_up(at(5), None)
    assert play.inbox["ann"] == []


def test_a_hole_right_after_joining_is_filled_from_history():
    play = Play()
    play.publish(publication(7))
    play.catch_up(at(5))
    play.join("ann")
    assert play.topic.state is TopicState.BEHIND
    play.catch_up(at(7), [publication(6), publication(7)])
    assert play.inbox["ann"] == ["e-6", "e-7"]


def test_a_lost_subscription_leaves_a_joining_topic_joining():
    play = Play()
    play.hub.fell_behind()
    assert play.topic.state is TopicState.JOINING


# Opening and closing


def test_opening_again_is_the_same_topic(play):
    assert play.hub.open(KEY) is play.topic


def test_a_topic_closes_when_the_last_subscriber_left(play):
    play.join("bob", "table:public.users")
    play.leave("ann")
    assert not play.hub.close(KEY)
    play.leave("bob", "table:public.users")
    assert play.topic.is_idle
    assert play.hub.close(KEY)
    assert play.hub.topics == {}


def test_a_topic_stays_for_one_who_is_on_the_way_in(play):
    play.leave("ann")
    play.topic.joiners += 1
    assert not play.hub.close(KEY)
    play.topic.joiners -= 1
    assert play.hub.close(KEY)


def test_closing_what_is_closed_is_nothing():
    assert not Hub().close(KEY)


def test_a_topic_that_was_closed_begins_anew(play):
    play.leave("ann")
    play.hub.close(KEY)
    assert play.hub.open(KEY).state is TopicState.JOINING


def test_who_is_in_prints_as_a_subscription_and_who_left_does_not(play):
    assert repr(play.hub) == "<Hub 1 topics, 1 subscriptions>"
    play.leave("ann")
    assert repr(play.hub) == "<Hub 1 topics, 0 subscriptions>"


def test_a_hub_prints_its_size(play):
    play.join("ann", "table:public.users")
    assert repr(play.hub) == "<Hub 1 topics, 2 subscriptions>"


# Taps


def test_a_tap_collects_what_is_handed_on_meanwhile(play):
    with play.topic.tapped() as tap:
        play.publish(publication(5, 6), publication(9))
        assert tap == [publication(6)]
        play.catch_up(at(9), [publication(7, 8), publication(9)])
    assert tap == [publication(6), publication(7, 8), publication(9)]
    play.publish(publication(10))
    assert len(tap) == 3


def test_taps_do_not_mix_even_while_they_are_equal(play):
    with play.topic.tapped() as first:
        with play.topic.tapped() as second:
            pass
        play.publish(publication(6))
    assert (first, second, play.topic.taps) == ([publication(6)], [], [])


def test_a_tap_ends_with_the_one_who_gave_up(play):
    with pytest.raises(TimeoutError), play.topic.tapped():
        raise TimeoutError
    assert play.topic.taps == []


def test_a_tap_hears_what_no_subscriber_hears_yet():
    play = Play(live_at=at(5))
    with play.topic.tapped() as tap:
        play.publish(publication(6))
    assert tap == [publication(6)]


# What is remembered for those who come back


@pytest.fixture
def remembered(play) -> Play:
    """The play, in which the topic remembers from e-5 on."""
    play.topic.memory = Recollection(at(5), 1_000, Room())
    return play


def test_what_is_handed_on_is_remembered(remembered):
    remembered.publish(publication(4, 6), publication(7), publication(6, 9))
    assert (remembered.topic.memory.start, remembered.topic.memory.end) == (at(5), at(9))


@pytest.mark.parametrize("happens", [publication(8), publication(1, epoch="f"), begun_anew("f")])
def test_a_topic_that_falls_behind_forgets(remembered, happens):
    remembered.publish(happens)
    assert remembered.topic.memory is None


def test_a_lost_subscription_makes_forget(remembered):
    remembered.hub.fell_behind()
    assert remembered.topic.memory is None


def test_what_is_read_of_history_while_behind_is_remembered(play):
    play.hub.fell_behind()
    play.topic.memory = Recollection(at(5), 1_000, Room())
    play.publish(publication(8))
    play.catch_up(at(7), [publication(6), publication(7)])
    assert play.topic.memory.end == play.topic.position == at(8)


def test_a_resync_makes_forget_even_within_one_epoch(play):
    play.hub.fell_behind()
    play.topic.memory = Recollection(at(5), 1_000, Room())
    play.catch_up(at(3), None)
    assert play.topic.memory is None
    assert play.inbox["ann"] == ["resync e-3"]


def test_a_new_epoch_in_silence_makes_forget():
    key, hub = ("demo", "room:a"), Hub()
    topic = hub.open(key)
    hub.caught_up(key, at(5), None)
    topic.memory = Recollection(at(5), 1_000, Room())
    hub.received(key, Publication("f", 1, [b'B"payload":1']))
    assert (topic.state, topic.position, topic.memory) == (TopicState.LIVE, at(1, "f"), None)


def test_a_topic_that_closes_gives_back_its_room(remembered):
    room = Room()
    remembered.topic.memory = Recollection(at(5), 1_000, room)
    remembered.publish(publication(6))
    assert room.used > 0
    remembered.leave("ann")
    remembered.hub.close(KEY)
    assert room.used == 0


# Any order of events


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
            self.play.catch_up(*self.reading)
            self.reading = None
        elif self.play.topic.state is not TopicState.LIVE:
            until = self.redis.position
            if self.chance.random() < self.haste:
                self.publish()
            self.reading = until, self.redis.missed(self.play.topic.position, until)

    def come_back(self) -> None:
        """A client that saw some of what "all" heard asks for the rest of it, as it is remembered."""
        topic, heard = self.play.topic, self.play.inbox["all"]
        if topic.memory is None:
            topic.memory = Recollection(topic.position, 1_000, Room())
        assert topic.memory.end == topic.position
        since = self.chance.choice(heard or [""])
        offset = int(since.rpartition("-")[2] or -1)
        if since.startswith(f"{topic.position.epoch}-") and offset < topic.position.offset:
            if topic.memory.reach(offset) is Reach.UNREAD:
                older = self.redis.missed(at(offset, topic.position.epoch), topic.memory.start)
                topic.memory.look_back(at(offset, topic.position.epoch), older)
            if topic.memory.reach(offset) is Reach.COVERED:
                pieces = topic.memory.pieces(parse_channel(EVERYTHING), offset, "")
                told = [message["id"] for message in payloads(b"".join(pieces))]
                assert told == heard[heard.index(since) + 1 :]
                self.recovered += 1

    def lose_connection(self) -> None:
        self.redis.wire.clear()
        self.reading = None
        self.play.hub.fell_behind()

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
