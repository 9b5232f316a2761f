"""Where the feed takes a topic to stand, and which topics have diverged."""

from typing import Any

import pytest

from notifier.feed.feed import Feed

NO_SESSION: Any = None  # what is tested here asks nothing
A, B = "table:public.a", "table:public.b"


@pytest.fixture
def feed():
    """In batch t2, which has moved `a` as far as it was read."""
    feed = Feed(NO_SESSION)
    feed.token, feed.checkpoints, feed.moved = "t2", {A: "t1:5", B: "t1:6"}, {A: "t2:8"}
    return feed


def test_topics_that_took_the_whole_batch_or_were_not_in_it_are_where_they_should_be(feed):
    assert feed.diverged({A: "t2:8", B: "t1:6"}, published=True) == {}


@pytest.mark.parametrize("found", ["", "t1:5", "t2:7", "t2:9", "t3:1"])
def test_after_a_batch_any_other_checkpoint_has_diverged(feed, found):
    assert feed.diverged({A: found}, published=True) == {A: (found, "t2:8")}


@pytest.mark.parametrize("found", ["t1:5", "t2:1", "t2:8"])
def test_within_a_batch_a_topic_may_have_a_part_of_it(feed, found):
    assert feed.diverged({A: found}, published=False) == {}


@pytest.mark.parametrize("found", ["", "t1:4", "t3:1", "t0:5"])
def test_within_a_batch_any_other_checkpoint_has_diverged(feed, found):
    assert feed.diverged({A: found}, published=False) == {A: (found, "t1:5")}


def test_a_topic_that_the_database_does_not_know_is_astray(feed):
    assert feed.diverged({"table:public.c": "t9:1"}, published=False) == {"table:public.c": ("t9:1", "")}
    assert feed.diverged({"table:public.c": ""}, published=False) == {}


def test_before_the_first_batch_no_checkpoint_is_right():
    assert Feed(NO_SESSION).diverged({A: "t1:5", B: ""}, published=False) == {A: ("t1:5", "")}
