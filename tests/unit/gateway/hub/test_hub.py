"""The hub while all goes well: who hears what, who leaves, what is remembered."""

from __future__ import annotations

import pytest

from gateway.hub.hub import Hub
from gateway.hub.replay_cache import Coverage, ReplayBudget, ReplayCache
from gateway.hub.subscribers import subscription
from gateway.hub.topic import TopicState
from realtime.channels import Event, parse_channel
from realtime.publications import Publication
from tests.hub_fixture import KEY, NATIVE, Play, at, begun_anew, delivered, line, play_at_five, publication


@pytest.fixture
def play() -> Play:
    return play_at_five()


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
    play.hub.remove(("demo", "room:a"), subscription("ann", parse_channel("room:a"), "ann", NATIVE))
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
    other = play.hub.open(("other", KEY[1]))
    other.caught_up(at(5))
    assert delivered(other, other.received(publication(6))) == []
    assert (other.position, play.topic.position) == (at(6), at(5))


# Again, and overlapping


def test_what_came_before_is_not_handed_on_again(play):
    play.publish(publication(6, 7), publication(6, 7), publication(5), publication(1, 7))
    assert play.inbox["ann"] == ["e-6", "e-7"]
    assert play.topic.state is TopicState.LIVE


def test_of_an_overlap_only_the_new_part_is_handed_on(play):
    play.publish(publication(4, 7), publication(7, 8))
    assert play.inbox["ann"] == ["e-6", "e-7", "e-8"]


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


# What is remembered for those who come back


@pytest.fixture
def remembered(play) -> Play:
    """The play, in which the topic remembers from e-5 on."""
    play.topic.replay_cache = ReplayCache(at(5), 1_000, ReplayBudget(10**9))
    return play


def test_what_is_handed_on_is_remembered(remembered):
    remembered.publish(publication(4, 6), publication(7), publication(6, 9))
    assert remembered.topic.replay_cache.end == at(9)
    assert [remembered.topic.replay_cache.coverage(offset) for offset in (4, 5, 8)] == [
        Coverage.UNREAD,
        Coverage.COVERED,
        Coverage.COVERED,
    ]


@pytest.mark.parametrize("happens", [publication(8), publication(1, epoch="f"), begun_anew("f")])
def test_a_topic_that_falls_behind_forgets(remembered, happens):
    remembered.publish(happens)
    assert remembered.topic.replay_cache is None


def test_a_lost_subscription_makes_forget(remembered):
    remembered.lose()
    assert remembered.topic.replay_cache is None


def test_what_is_read_of_history_while_behind_is_remembered(play):
    play.lose()
    play.topic.replay_cache = ReplayCache(at(5), 1_000, ReplayBudget(10**9))
    play.publish(publication(8))
    play.catch_up(at(7), [publication(6), publication(7)])
    assert play.topic.replay_cache.end == play.topic.position == at(8)


def test_what_was_missed_is_handed_on_page_by_page_and_then_what_was_held(play):
    play.lose()
    play.publish(publication(9))
    play.miss(publication(6), publication(7))
    assert (play.inbox["ann"], play.topic.state) == (["e-6", "e-7"], TopicState.BEHIND)
    play.miss(publication(8))
    play.catch_up(at(8), [])
    assert play.inbox["ann"] == ["e-6", "e-7", "e-8", "e-9"]
    assert play.topic.state is TopicState.LIVE


def test_history_that_ends_in_the_middle_of_what_was_missed_is_told_as_resync(play):
    play.lose()
    play.miss(publication(6))
    play.catch_up(at(20), None)
    play.publish(publication(21))
    assert play.inbox["ann"] == ["e-6", "resync e-20", "e-21"]


def test_nothing_is_missed_by_a_topic_that_is_live(play):
    play.miss(publication(6))
    assert (play.inbox["ann"], play.topic.position) == ([], at(5))


def test_what_is_held_back_can_be_given_up_but_for_the_last_which_shows_the_hole(play):
    play.lose()
    play.publish(publication(6), publication(7), publication(8))
    held = play.topic.held_bytes
    play.topic.shed()
    assert (play.topic.held, play.topic.held_bytes) == ([publication(8)], held // 3)
    play.topic.shed()
    play.catch_up(at(5), [])
    assert (play.inbox["ann"], play.topic.state) == ([], TopicState.BEHIND)


def test_a_resync_makes_forget_even_within_one_epoch(play):
    play.lose()
    play.topic.replay_cache = ReplayCache(at(5), 1_000, ReplayBudget(10**9))
    play.catch_up(at(3), None)
    assert play.topic.replay_cache is None
    assert play.inbox["ann"] == ["resync e-3"]


def test_a_new_epoch_in_silence_makes_forget():
    key, hub = ("demo", "room:a"), Hub[str]()
    topic = hub.open(key)
    topic.caught_up(at(5))
    topic.replay_cache = ReplayCache(at(5), 1_000, ReplayBudget(10**9))
    delivered(topic, topic.received(Publication("f", 1, [b'B"payload":1'])))
    assert (topic.state, topic.position, topic.replay_cache) == (TopicState.LIVE, at(1, "f"), None)


def test_a_topic_that_closes_gives_back_its_room(remembered):
    room = ReplayBudget(10**9)
    remembered.topic.replay_cache = ReplayCache(at(5), 1_000, room)
    remembered.publish(publication(6))
    assert room.used > 0
    remembered.leave("ann")
    remembered.hub.close(KEY)
    assert room.used == 0
