"""The hub when something was missed: holes, lost connections, new epochs, and topics that join."""

from __future__ import annotations

import pytest

from gateway.hub.hub import Hub
from gateway.hub.topic import MAX_HELD_PUBLICATIONS, TopicState
from realtime.publications import Publication
from tests.hub_fixture import Play, at, begun_anew, delivered, line, play_at_five, publication


@pytest.fixture
def play() -> Play:
    return play_at_five()


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
    play.lose()
    play.publish(publication(8), publication(9), publication(10))
    play.catch_up(at(8), [publication(6, 8)])
    assert play.inbox["ann"] == ["e-6", "e-7", "e-8", "e-9", "e-10"]


def test_history_may_bring_more_than_was_asked_for(play):
    play.lose()
    play.publish(publication(7), publication(8), publication(9))
    play.catch_up(at(6), [publication(6), publication(7), publication(8)])
    assert play.inbox["ann"] == ["e-6", "e-7", "e-8", "e-9"]
    assert play.topic.position == at(9)


def test_a_hole_in_what_was_held_back_is_filled_too(play):
    play.lose()
    play.publish(publication(7), publication(9))
    play.catch_up(at(6), [publication(6)])
    assert play.inbox["ann"] == ["e-6", "e-7"]
    assert play.topic.state is TopicState.BEHIND
    play.catch_up(at(9), [publication(8), publication(9)])
    assert play.inbox["ann"] == ["e-6", "e-7", "e-8", "e-9"]
    assert play.topic.state is TopicState.LIVE


def test_a_lost_subscription_that_missed_nothing_goes_on_in_silence(play):
    play.lose()
    play.catch_up(at(5), [])
    play.publish(publication(6))
    assert play.inbox["ann"] == ["e-6"]


def test_catching_up_a_live_topic_changes_nothing(play):
    play.catch_up(at(3), [publication(1, 3)])
    play.catch_up(at(3), None)
    play.publish(publication(6))
    assert play.inbox["ann"] == ["e-6"]


def test_who_joins_a_topic_that_is_behind_hears_from_its_position_on(play):
    play.lose()
    play.join("bob")
    play.catch_up(at(6), [publication(6)])
    assert play.inbox["bob"] == ["e-6"]


def test_a_flood_while_history_is_read_is_bounded_and_loses_nothing(play):
    play.lose()
    last = 5 + 2 * MAX_HELD_PUBLICATIONS
    play.publish(*(publication(offset) for offset in range(6, last + 1)))
    assert len(play.topic.held) <= MAX_HELD_PUBLICATIONS
    play.catch_up(at(6), [publication(6)])
    assert play.topic.state is TopicState.BEHIND
    play.catch_up(at(last), [publication(7, last)])
    assert play.inbox["ann"] == [f"e-{offset}" for offset in range(6, last + 1)]


def test_large_messages_while_history_is_read_are_bounded_by_bytes_and_lose_nothing():
    bound = 20 * len(line())
    play = play_at_five(max_held_bytes=bound)
    play.lose()
    for offset in range(6, 106):
        play.publish(publication(offset))
        assert sum(len(text) for each in play.topic.held for text in each.lines) <= bound
    assert play.topic.held[-2:] == [publication(104), publication(105)]
    play.catch_up(at(6), [publication(6)])
    assert play.topic.state is TopicState.BEHIND
    play.catch_up(at(105), [publication(7, 105)])
    assert play.inbox["ann"] == [f"e-{offset}" for offset in range(6, 106)]


def test_a_message_larger_than_what_may_be_held_still_tells_of_the_hole_before_it():
    play = play_at_five(max_held_bytes=1)
    play.lose()
    play.publish(publication(7))
    play.catch_up(at(5), [])
    assert play.topic.state is TopicState.BEHIND


# What was held back, and is over


@pytest.mark.parametrize("was_live", [True, False])
def test_what_was_held_back_ends_with_the_connection_that_it_came_by(was_live):
    play = Play(live_at=at(0) if was_live else None)
    play.join("ann")
    play.lose()
    play.publish(publication(1, 2))
    play.lose()
    play.catch_up(at(0, "f"), None)
    assert (play.topic.state, play.topic.position) == (TopicState.LIVE, at(0, "f"))
    assert play.inbox["ann"] == (["resync f-0"] if was_live else [])


def test_what_was_held_back_of_another_epoch_is_not_handed_on_though_it_begins_that_one():
    play = Play(live_at=at(0))
    play.join("ann")
    play.lose()
    play.publish(publication(1), publication(2))
    play.catch_up(at(0, "f"), None)
    assert (play.topic.state, play.inbox["ann"]) == (TopicState.BEHIND, ["resync f-0"])
    play.catch_up(at(0, "f"), [])
    play.publish(publication(1, epoch="f"))
    assert (play.topic.state, play.inbox["ann"]) == (TopicState.LIVE, ["resync f-0", "f-1"])


def test_an_epoch_that_began_while_history_was_read_is_read_anew():
    play = Play(live_at=at(0))
    play.join("ann")
    play.lose()
    play.publish(publication(1, epoch="f"))
    play.catch_up(at(0), [])
    assert (play.topic.state, play.inbox["ann"]) == (TopicState.BEHIND, [])
    play.catch_up(at(1, "f"), None)
    assert (play.topic.state, play.inbox["ann"]) == (TopicState.LIVE, ["resync f-1"])


def test_a_join_that_was_held_back_of_another_epoch_makes_no_ghost():
    topic = Hub[str]().open(("demo", "presence:lobby"))
    assert topic.roster is not None
    delivered(topic, topic.received(Publication("e", 1, [b"Jlife-1/ghost {}"])))
    delivered(topic, topic.roster_read(at(0, "f"), {}))
    assert (topic.state, topic.roster.entries()) == (TopicState.BEHIND, [])
    delivered(topic, topic.roster_read(at(0, "f"), {}))
    assert (topic.state, topic.roster.entries()) == (TopicState.LIVE, [])


# History that does not reach


def test_a_hole_that_history_cannot_fill_is_told_to_everyone(play):
    play.join("bob", "table:users:DELETE")
    play.lose()
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
    play.lose()
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
    play.lose()
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
    play.lose()
    assert play.topic.state is TopicState.JOINING
