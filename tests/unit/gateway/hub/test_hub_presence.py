"""The hub and a presence topic where nobody was left, so that Redis forgot it."""

from __future__ import annotations

import pytest

from gateway.hub.hub import Hub
from gateway.hub.topic import Topic, TopicState
from realtime.publications import Publication
from tests.hub_fixture import at, delivered

KEY = ("demo", "presence:room:a")
COMES, GOES, ANOTHER = b"Jn-0/ann {}", b"Ln-0/ann {}", b"Jn-0/bob {}"


def after(*lines: bytes) -> Topic[str]:
    """A live topic in which this happened."""
    topic = Hub[str]().open(KEY)
    delivered(topic, topic.roster_read(at(0), {}))
    take_in(topic, Publication("e", 1, list(lines)))
    return topic


def take_in(topic: Topic[str], publication: Publication) -> None:
    delivered(topic, topic.received(publication))


def test_where_all_had_left_a_new_epoch_goes_on_as_a_join():
    topic = after(COMES, GOES)
    take_in(topic, Publication("f", 1, [ANOTHER]))
    assert topic.roster is not None
    assert (topic.state, topic.position, topic.roster.entries()) == (TopicState.LIVE, at(1, "f"), [b"{}"])


@pytest.mark.parametrize(
    ("lines", "publication"),
    [
        ([COMES], Publication("f", 1, [ANOTHER])),
        ([COMES, GOES], Publication("f", 2, [ANOTHER])),
        ([COMES, GOES], Publication("f" * 12 + "a reign", 1, [ANOTHER])),
    ],
    ids=["somebody was there", "the beginning was missed", "under another reign"],
)
def test_a_new_epoch_that_may_hide_something_is_read_anew(lines, publication):
    topic = after(*lines)
    take_in(topic, publication)
    assert topic.state is TopicState.BEHIND
