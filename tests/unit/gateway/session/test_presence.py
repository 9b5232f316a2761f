"""What one client is present with, without the messages that say so."""

from __future__ import annotations

import pytest

from gateway.session.presence import Presences, State
from realtime.errors import ClientError, Code
from realtime.settings.config import Limits

NOW = 1_700_000_000.0


def presences(**limits: int) -> Presences:
    return Presences("demo", "c-1", "alice", Limits(**limits))


def test_a_newer_state_replaces_the_one_before_and_keeps_when_the_client_joined() -> None:
    some = presences()
    presence = some.under("presence")
    some.update(presence, b'{"n":1}', NOW)
    some.update(some.under("presence"), b"{}", NOW + 5)
    assert presence.state == State(b"{}", "alice", NOW, NOW + 5)
    assert (list(some), some.state_bytes) == ([presence], 2)
    assert presence.topic_key == ("demo", "presence")


def test_who_left_and_comes_back_joins_anew() -> None:
    some = presences()
    some.update(some.under("presence"), b"{}", NOW)
    some.update(some.under("presence"), None, NOW + 1)
    assert some.entry("presence") is None
    some.update(some.under("presence"), b"{}", NOW + 5)
    assert [one.state.joined_at for one in some if one.state is not None] == [NOW + 5]


@pytest.mark.parametrize("state", [b"[]", b"5", b'"{}"', b"null"])
def test_a_state_that_is_no_object_is_refused(state: bytes) -> None:
    with pytest.raises(ClientError) as refused:
        presences().check("presence", state)
    assert refused.value.code is Code.INVALID_MESSAGE


def test_a_state_has_its_largest_size_and_no_byte_more() -> None:
    some = presences(max_state_bytes=10)
    some.check("presence", b'{"n":1234}')
    with pytest.raises(ClientError) as refused:
        some.check("presence", b'{"n":12345}')
    assert refused.value.code is Code.MESSAGE_TOO_BIG


def test_an_unconfirmed_topic_counts_as_one_until_it_is_confirmed() -> None:
    some = presences(max_channels_per_connection=1)
    doubtful = some.under("a")
    some.mark_unconfirmed(doubtful)
    some.check("a", b"{}")
    with pytest.raises(ClientError) as refused:
        some.check("b", b"{}")
    assert refused.value.code is Code.TOO_MANY_CHANNELS
    some.confirm(doubtful)
    some.check("b", b"{}")


def test_an_absence_is_settled_when_redis_cannot_have_anything_else() -> None:
    some = presences()
    assert some.is_settled_absence("a")
    presence = some.under("a")
    some.mark_unconfirmed(presence)
    assert not some.is_settled_absence("a")
    assert some.under("a") is presence
    some.confirm(presence)
    some.update(presence, b"{}", NOW)
    assert not some.is_settled_absence("a")
    assert some.clear() == [presence]
    assert some.is_settled_absence("a")
    assert repr(some) == "<Presences in 0 topics, 0 unconfirmed>"
