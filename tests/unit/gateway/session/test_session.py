"""The rules of one connection, message by message, as the contract has them.

Long as that table is.
"""

import dataclasses

import pytest

from gateway.session.effects import Close, Join, Leave, Say, SetPresence, Verify
from gateway.session.session import Session, SessionRules, refusal
from gateway.wire.commands import Authenticate, Malformed, Ping, Subscribe, Unsubscribe, UpdatePresence
from gateway.wire.events import Joined, Left, Pong, Reauthenticated, Refused, Welcomed
from realtime.auth.tokens import LEEWAY_SECONDS, Identity
from realtime.channels import parse_channel
from realtime.errors import ClientError, Code, Unavailable
from realtime.publications import Position
from realtime.settings.config import Limits

NOW = 1_700_000_000.0
ALICE = Identity(user_id="alice", role="authenticated", expires_at=NOW + 60, claims={})
HERE = Position("e", 5)


def new_session(identity=ALICE, now=NOW, **limits) -> Session:
    return Session("demo", "c-1", identity, SessionRules(Limits(**limits)), now)


@pytest.fixture
def session() -> Session:
    return new_session()


def identity(**changes) -> Identity:
    return dataclasses.replace(ALICE, **changes)


def subscribe(session: Session, channel: str, **fields):
    return session.received(Subscribe(channel=channel, **fields), NOW)


def only_error(effects) -> Refused:
    [effect] = effects
    assert isinstance(effect, Say)
    assert isinstance(effect.event, Refused)
    return effect.event


# The beginning


def test_the_greeting_says_who_is_connected_to_what(session):
    assert session.greeting(25) == Welcomed("c-1", "demo", "alice", NOW + 60, 25)


def test_a_token_without_sub_is_of_nobody():
    assert new_session(identity(user_id=None)).greeting(25).user_id is None


# Subscribing


def test_a_subscribe_asks_to_join_its_channel(session):
    assert subscribe(session, "table:users:INSERT", ref=7) == [
        Join(parse_channel("table:users:INSERT"), since=None, ref=7)
    ]
    assert list(session.channels) == ["table:users:INSERT"]


def test_a_subscribe_with_since_joins_from_there(session):
    [join] = subscribe(session, "table:users", since="03f9a2ab77c1-4")
    assert join.since == Position("03f9a2ab77c1", 4)


@pytest.mark.parametrize(
    "name", ["table:users", 'table:"a.b"."c:d":DELETE', "presence", "presence:a:b", "room:lobby"]
)
def test_every_valid_channel_may_be_subscribed_to(session, name):
    assert subscribe(session, name) == [Join(parse_channel(name), None, None)]


def test_the_answer_to_a_subscribe_says_where_it_starts(session):
    [join] = subscribe(session, "table:users", ref="r")
    assert session.joined(join, HERE, True, False) == Joined(
        parse_channel("table:users"), HERE, recovered=True, enabled=False, ref="r"
    )


def test_subscribing_again_joins_again_and_counts_once():
    session = new_session(max_channels_per_connection=1)
    assert subscribe(session, "room:a") == subscribe(session, "room:a")
    assert len(session.channels) == 1


def test_two_spellings_of_a_table_are_two_channels():
    session = new_session(max_channels_per_connection=2)
    [first], [second] = subscribe(session, "table:users"), subscribe(session, "table:public.users")
    assert first.channel.topic == second.channel.topic
    assert only_error(subscribe(session, 'table:"users"')).code is Code.TOO_MANY_CHANNELS


def test_one_channel_too_many_is_refused_and_room_made_is_room_again():
    session = new_session(max_channels_per_connection=2)
    subscribe(session, "room:a")
    subscribe(session, "room:b")
    error = only_error(subscribe(session, "room:c", ref=9))
    assert (error.code, error.ref, error.channel) == (Code.TOO_MANY_CHANNELS, 9, "room:c")
    assert "2" in error.message
    session.received(Unsubscribe(channel="room:a"), NOW)
    assert subscribe(session, "room:c") == [Join(parse_channel("room:c"), None, None)]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"channel": "nope"}, Code.INVALID_CHANNEL),
        ({"channel": ""}, Code.INVALID_CHANNEL),
        ({"channel": "table:a.b.c"}, Code.INVALID_CHANNEL),
        ({"channel": "table:users", "since": "yesterday"}, Code.INVALID_MESSAGE),
        ({"channel": "table:users", "since": ""}, Code.INVALID_MESSAGE),
        ({"channel": "table:users", "filter": "id=eq.1"}, Code.INVALID_FILTER),
        ({"channel": "table:users", "filter": ""}, Code.INVALID_FILTER),
        ({"channel": "room:a", "filter": "5"}, Code.INVALID_FILTER),
    ],
)
def test_a_subscribe_that_cannot_be_is_refused_and_leaves_nothing(session, fields, code):
    error = only_error(session.received(Subscribe(ref=3, **fields), NOW))
    assert (error.code, error.ref, error.channel) == (code, 3, fields["channel"])
    assert session.channels == {}


def test_a_refused_subscribe_leaves_the_one_before_in_force(session):
    subscribe(session, "table:users")
    only_error(subscribe(session, "table:users", since="yesterday"))
    assert list(session.channels) == ["table:users"]


def test_a_join_that_failed_is_told_and_may_be_tried_again():
    session = new_session(max_channels_per_connection=1)
    [join] = subscribe(session, "room:a", ref=5)
    leave, say = session.join_failed(join, Unavailable("Redis is away"))
    assert leave == Leave(join.channel)
    assert isinstance(say, Say)
    assert say.event == Refused(Code.UNAVAILABLE, "Redis is away", ref=5, channel="room:a")
    assert subscribe(session, "room:b") == [Join(parse_channel("room:b"), None, None)]


# Unsubscribing


def test_an_unsubscribe_leaves_and_says_so(session):
    subscribe(session, "room:a")
    assert session.received(Unsubscribe(channel="room:a", ref=1), NOW) == [
        Leave(parse_channel("room:a")),
        Say(Left("room:a", ref=1)),
    ]
    assert session.channels == {}


def test_an_unsubscribe_from_what_was_not_subscribed_to_is_answered_too(session):
    assert session.received(Unsubscribe(channel="room:a"), NOW) == [Say(Left("room:a"))]


def test_another_spelling_does_not_unsubscribe(session):
    subscribe(session, "table:users")
    session.received(Unsubscribe(channel="table:public.users"), NOW)
    assert list(session.channels) == ["table:users"]


def test_an_unsubscribe_from_no_channel_is_refused(session):
    error = only_error(session.received(Unsubscribe(channel="nope", ref="r"), NOW))
    assert (error.code, error.ref, error.channel) == (Code.INVALID_CHANNEL, "r", "nope")


# Other messages


def test_a_ping_is_answered_with_the_time(session):
    assert session.received(Ping(ref="r"), NOW) == [Say(Pong(NOW, ref="r"))]
    assert session.received(Ping(), NOW) == [Say(Pong(NOW))]


@pytest.mark.parametrize("ref", [0, "", -1])
def test_a_ref_that_looks_like_nothing_comes_back_too(session, ref):
    [say] = session.received(Ping(ref=ref), NOW)
    assert say.event.ref == ref


@pytest.mark.parametrize("code", [Code.INVALID_JSON, Code.INVALID_MESSAGE, Code.UNKNOWN_TYPE])
def test_a_bad_message_gets_its_error_and_the_session_lives_on(session, code):
    refusal = Refused(code, "no", ref=1)
    assert session.received(Malformed(refusal), NOW) == [Say(refusal)]
    assert session.received(Ping(), NOW) == [Say(Pong(NOW))]
    assert session.tick(NOW) == []


# A newer token


def auth(session: Session, outcome, now=NOW, ref="r"):
    [verify] = session.received(Authenticate("newer", ref), now)
    assert verify == Verify("newer", ref)
    return session.verified(verify, outcome, now)


def test_a_newer_token_of_the_same_user_takes_over(session):
    newer = identity(expires_at=NOW + 3_600, role="editor")
    assert auth(session, newer) == [Say(Reauthenticated(NOW + 3_600, ref="r"))]
    assert session.identity is newer
    assert session.tick(NOW + 3_599) == []
    assert session.tick(NOW + 3_600) != []


@pytest.mark.parametrize("user_id", ["bob", "Alice", "", None])
def test_a_token_of_somebody_else_is_refused_and_the_old_one_stays(session, user_id):
    error = only_error(auth(session, identity(user_id=user_id, expires_at=NOW + 3_600)))
    assert (error.code, error.ref) == (Code.UNAUTHORIZED, "r")
    assert session.identity is ALICE
    assert session.tick(NOW + 60) != []


def test_nobody_may_stay_nobody_but_not_become_somebody():
    session = new_session(identity(user_id=None))
    assert only_error(auth(session, ALICE)).code is Code.UNAUTHORIZED
    assert isinstance(auth(session, identity(user_id=None))[0].event, Reauthenticated)


@pytest.mark.parametrize("code", [Code.UNAUTHORIZED, Code.TOKEN_EXPIRED, Code.UNAVAILABLE])
def test_a_bad_token_is_an_error_and_the_old_one_stays(session, code):
    error = only_error(auth(session, ClientError(code, "no")))
    assert (error.code, error.ref, error.channel) == (code, "r", None)
    assert session.identity is ALICE
    assert session.tick(NOW + 59) == []


# Expiry


def test_a_session_ends_when_its_token_runs_out(session):
    assert session.tick(NOW + 59.999) == []
    [close] = session.tick(NOW + 60)
    assert isinstance(close, Close)
    assert (close.refusal.code, close.code) == (Code.TOKEN_EXPIRED, 4401)


def test_a_token_taken_within_the_leeway_has_what_is_left_of_it():
    session = new_session(identity(expires_at=NOW), now=NOW + 2)
    assert session.tick(NOW + LEEWAY_SECONDS - 0.1) == []
    assert session.tick(NOW + LEEWAY_SECONDS) != []


def test_a_refusal_without_ref_and_channel_has_neither():
    assert refusal(ClientError(Code.FORBIDDEN, "no")) == Refused(Code.FORBIDDEN, "no", None, None)


def test_a_session_prints_whose_it_is_without_its_token(session):
    subscribe(session, "room:a")
    assert repr(session) == "<Session c-1 in demo, 1 channels>"


# Presence


def update_presence(session: Session, channel: str, state: bytes | None, ref: int = 1):
    return session.received(UpdatePresence(state, channel, ref), NOW)


def be_present(session: Session, channel: str, state: bytes | None = b"{}") -> SetPresence:
    [effect] = update_presence(session, channel, state)
    assert isinstance(effect, SetPresence)
    return effect


AWAY = Unavailable("Redis cannot be reached now")


def test_what_redis_may_not_have_leaves_the_client_as_it_was(session):
    be_present(session, "room:a", b'{"n":1}')
    for state in (b'{"n":2}', None):
        change = be_present(session, "room:a", state)
        error = only_error(session.write_failed(change, AWAY))
        assert (error.code, error.ref) == (Code.UNAVAILABLE, 1)
        entry = change.presence.entry()
        assert entry is not None
        assert b'"state":{"n":1}' in entry


def test_what_a_client_is_present_with_is_its_states_and_its_name_in_each():
    session = new_session(identity(user_id="u" * 5_000))
    for channel in ("room:a", "room:b"):
        be_present(session, channel, b'{"x":1}')
    assert session.presence_bytes == 2 * (len('{"x":1}') + 5_000)
    be_present(session, "room:a", None)
    assert session.presence_bytes == len('{"x":1}') + 5_000


def test_a_newer_state_keeps_when_the_client_joined(session):
    be_present(session, "room:a")
    [later] = session.received(UpdatePresence(b'{"n":2}', "room:a"), NOW + 1)
    assert later.presence.entry() == (
        b'{"connection_id":"c-1","user_id":"alice","state":{"n":2},'
        b'"joined_at":"2023-11-14T22:13:20.000000Z","updated_at":"2023-11-14T22:13:21.000000Z"}'
    )


@pytest.mark.parametrize("state", [b"5", b"[]", b'"{}"', b"true"])
def test_a_state_is_an_object(session, state):
    error = only_error(update_presence(session, "room:a", state))
    assert (error.code, error.channel) == (Code.INVALID_MESSAGE, "room:a")
    assert len(session.presences) == 0


def test_whoever_is_not_present_leaves_without_redis_unless_redis_may_know_better(session):
    change = be_present(session, "room:a")
    session.write_failed(change, AWAY)
    assert update_presence(session, "room:a", None, ref=2) == session.write_acknowledged(2)
    assert session.presences.mark_unconfirmed(change.presence) is True
    assert update_presence(session, "room:a", None, ref=2) == [SetPresence(change.presence, None, 2)]
    session.presences.confirm(change.presence)
    assert update_presence(session, "room:a", None, ref=2) == session.write_acknowledged(2)


def test_an_unconfirmed_topic_is_restored_once_until_it_is_confirmed(session):
    presence = be_present(session, "room:a").presence
    assert [session.presences.mark_unconfirmed(presence) for _ in range(2)] == [True, False]
    session.presences.confirm(presence)
    assert session.presences.mark_unconfirmed(presence) is True


def test_a_client_has_no_more_unconfirmed_topics_than_channels():
    session = new_session(max_channels_per_connection=2)
    be_present(session, "room:a")
    unconfirmed = be_present(session, "room:b")
    session.write_failed(unconfirmed, AWAY)
    session.presences.mark_unconfirmed(unconfirmed.presence)
    assert only_error(update_presence(session, "room:c", b"{}")).code == Code.TOO_MANY_CHANNELS
    be_present(session, "room:b")
    session.presences.confirm(unconfirmed.presence)
    assert only_error(update_presence(session, "room:c", b"{}")).code == Code.TOO_MANY_CHANNELS
    be_present(session, "room:b", None)
    be_present(session, "room:c")


def test_who_is_gone_is_present_nowhere(session):
    had = [be_present(session, channel).presence for channel in ("room:a", "room:b")]
    assert session.end() == had
    assert [presence.entry() for presence in had] == [None, None]
    assert session.end() == []
