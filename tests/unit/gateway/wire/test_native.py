"""Messages of clients: what is read, what is refused, and how answers are written.

Long by the table of what is refused.
"""

import json
import random

import msgspec
import pytest
from msgspec import UNSET

from gateway.wire import native
from gateway.wire.native import (
    Auth,
    Authenticated,
    BadMessage,
    Connected,
    Error,
    Ping,
    Pong,
    Resync,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
    decode,
    encode,
)
from realtime.errors import Code

LONGEST_REF = "é" * 64
DEEP = "[" * 10_000 + "]" * 10_000
HUGE = 10**80


def refusal(text: str) -> Error:
    message = decode(text)
    assert isinstance(message, BadMessage)
    assert json.loads(encode(message.error))["type"] == "error"
    return message.error


def said(message) -> dict:
    return json.loads(encode(message))


# What a client may say


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"type":"subscribe","channel":"table:users"}', Subscribe(channel="table:users")),
        (
            '{"type":"subscribe","channel":"table:users","since":"e-1","ref":7}',
            Subscribe(channel="table:users", since="e-1", ref=7),
        ),
        ('{"type":"unsubscribe","channel":"a:b","ref":"x"}', Unsubscribe(channel="a:b", ref="x")),
        ('{"type":"ping"}', Ping()),
        ('{"type":"ping","ref":"1"}', Ping(ref="1")),
        ('{"type":"auth","token":"abc"}', Auth(token="abc")),
        ('{"type":"auth","token":"abc","ref":0}', Auth(token="abc", ref=0)),
    ],
)
def test_each_message_of_the_contract_is_understood(text, message):
    assert decode(text) == message


def test_a_filter_is_kept_as_the_client_wrote_it():
    message = decode('{"type":"subscribe","channel":"table:users","filter":"user_id=eq.42"}')
    assert bytes(message.filter) == b'"user_id=eq.42"'


@pytest.mark.parametrize("field", ["since", "filter", "ref"])
def test_an_optional_field_that_is_null_is_not_there(field):
    text = '{"type":"subscribe","channel":"a:b"%s}'
    given, left_out = decode(text % f',"{field}":null'), decode(text % "")
    assert bytes(given.filter) == bytes(left_out.filter) == b"null"
    assert (given.since, given.ref) == (left_out.since, left_out.ref) == (None, None)


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"ping","future":{"a":[1]},"channel":5}',
        '{"future":1e999999,"type":"ping"}',
        ' \n{ "type" : "ping" }\r\n\t',
        '{"\\u0074ype":"pin\\u0067"}',
    ],
)
def test_unknown_fields_and_odd_spellings_of_json_do_no_harm(text):
    assert decode(text) == Ping()


def test_of_a_field_that_comes_twice_the_last_counts():
    assert decode('{"type":"ping","ref":1,"ref":2}') == Ping(ref=2)


@pytest.mark.parametrize(
    "ref", [0, -1, 2**53 + 1, 2**64, -(2**64), HUGE, "", "x" * 64, LONGEST_REF, "a\0b", "😀"]
)
def test_a_ref_comes_back_as_it_went(ref):
    message = decode(json.dumps({"type": "ping", "ref": ref}))
    assert said(Pong(timestamp="now", ref=message.ref))["ref"] == ref


# What means nothing


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "{",
            "}",
            "nope",
            '{"type":"ping"',
            '{"type":"ping",}',
            "{'type':'ping'}",
            '{"type":ping}',
        ),
        *(
            '{"type":"ping"}x',
            '{"type":"ping"}{"type":"ping"}',
            '{"type":"ping"}\0',
            "\ufeff" + '{"type":"ping"}',
        ),
        *(
            '{"type":"ping","x":01}',
            '{"type":"ping","x":NaN}',
            '{"type":"ping","ref":-}',
            '{"type":"pi\0ng"}',
        ),
        *(
            '{"type":"ping","ref":"\\ud800"}',
            '{"type":"ping","ref":"\ud800"}',
            '{"type":"\\q"}',
            '"',
            '"\\u12"',
        ),
        *(
            "[1",
            "[1,]",
            "[" * 10_000,
            DEEP,
            '{"x":' * 10_000,
            '{"type":"ping","x":' + DEEP + "}",
            "\x00",
            "🙂",
        ),
    ],
)
def test_what_is_no_json_is_invalid_json(text):
    assert refusal(text).code is Code.INVALID_JSON


@pytest.mark.parametrize(
    "opening", ['{"type":"nope"', '{"type":5', '{"type":"subscribe","channel":5', '{"ref":[]']
)
@pytest.mark.parametrize(
    "rest", ["", ",", ',"x":', ',"x":tru}', ',"x":' + "[" * 10_000, ',"x":' + DEEP + "}", "}]"]
)
def test_what_breaks_off_after_a_wrong_field_is_still_invalid_json(opening, rest):
    assert refusal(opening + rest).code is Code.INVALID_JSON


@pytest.mark.parametrize(
    "text", ["[]", "5", "null", "true", '"ping"', '[{"type":"ping"}]', "1e999", str(HUGE), "[[]]"]
)
def test_json_that_is_no_object_is_an_invalid_message(text):
    error = refusal(text)
    assert (error.code, error.message) == (Code.INVALID_MESSAGE, "a message is a JSON object")


@pytest.mark.parametrize(
    "kind", ["nope", "", "Ping", "PING", "ping ", "connected", "error", "realtime", "pi\0ng"]
)
def test_an_unknown_type_is_named_in_the_answer(kind):
    error = refusal(json.dumps({"type": kind, "ref": 7, "channel": "a:b"}))
    assert (error.code, error.ref, error.channel) == (Code.UNKNOWN_TYPE, 7, "a:b")
    assert ascii(kind) in error.message


def test_a_long_type_is_not_sent_back_whole():
    assert len(refusal(json.dumps({"type": "x" * 60_000})).message) < 200


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("{}", "type"),
        ('{"type":null}', "type"),
        ('{"type":5}', "type"),
        ('{"type":["ping"]}', "type"),
        ('{"type":{"type":"ping"}}', "type"),
        ('{"type":"subscribe"}', "channel"),
        ('{"type":"subscribe","channel":null}', "channel"),
        ('{"type":"subscribe","channel":5}', "channel"),
        ('{"type":"subscribe","channel":["a:b"]}', "channel"),
        ('{"type":"unsubscribe"}', "channel"),
        ('{"type":"unsubscribe","channel":{}}', "channel"),
        ('{"type":"subscribe","channel":"a:b","since":5}', "since"),
        ('{"type":"auth"}', "token"),
        ('{"type":"auth","token":null}', "token"),
    ],
)
def test_a_missing_or_wrong_field_is_named(text, field):
    error = refusal(text)
    assert error.code is Code.INVALID_MESSAGE
    assert f"`{field}`" in error.message


@pytest.mark.parametrize(
    "ref",
    ["true", "1.5", "1.0", "1e2", "[]", "[1]", "{}", '"' + "x" * 65 + '"', '"' + "é" * 65 + '"', "9" * 5_000],
)
def test_a_wrong_ref_is_refused_and_not_sent_back(ref):
    error = refusal(f'{{"type":"ping","ref":{ref}}}')
    assert (error.code, error.ref) == (Code.INVALID_MESSAGE, UNSET)
    assert "ref" in error.message


@pytest.mark.parametrize("ref", [7, HUGE, "x", LONGEST_REF, ""])
@pytest.mark.parametrize(
    "rest", ['"type":"subscribe"', '"type":"nope"', '"type":5', '"channel":"a:b"', '"type":"auth","token":1']
)
def test_a_valid_ref_comes_back_with_any_refusal_wherever_it_stands(ref, rest):
    field = f'"ref":{json.dumps(ref)}'
    assert refusal(f"{{{rest},{field}}}").ref == refusal(f"{{{field},{rest}}}").ref == ref


def test_a_refusal_names_the_channel_if_there_was_one():
    assert refusal('{"type":"subscribe","channel":"a:b","since":5}').channel == "a:b"
    assert refusal('{"type":"subscribe","channel":5}').channel is UNSET
    assert refusal('{"type":"ping","ref":[]}').channel is UNSET


def test_a_token_is_not_in_the_answer_to_a_bad_message():
    text = '{"type":"auth","token":"secret-token","ref":[]}'
    assert b"secret-token" not in encode(refusal(text))


@pytest.mark.parametrize("seed", range(5))
def test_no_mangled_message_is_more_than_a_bad_message(seed):
    chance = random.Random(seed)
    text = '{"type":"subscribe","channel":"table:users","since":"e-1","ref":"r","filter":["a",{"b":1.5e3}]}'
    for _ in range(2_000):
        characters = list(text)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(characters))
            characters[at : at + chance.randint(0, 3)] = chance.choice(
                ['"', "{", "]", "\\", "\0", "é", "", "9", "\ud800"]
            )
        message = decode("".join(characters))
        if isinstance(message, BadMessage):
            assert message.error.code in {Code.INVALID_JSON, Code.INVALID_MESSAGE, Code.UNKNOWN_TYPE}
            encode(message.error)


# What the server says


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (
            Connected(
                connection_id="c", project_id="demo", user_id=None, expires_at="t", heartbeat_seconds=25
            ),
            {
                "type": "connected",
                "connection_id": "c",
                "project_id": "demo",
                "user_id": None,
                "expires_at": "t",
                "heartbeat_seconds": 25,
            },
        ),
        (
            Subscribed(channel="table:users", position="e-1", recovered=True, enabled=True, ref=1),
            {
                "type": "subscribed",
                "channel": "table:users",
                "position": "e-1",
                "recovered": True,
                "enabled": True,
                "ref": 1,
            },
        ),
        (
            Subscribed(channel="a:b", position="e-1"),
            {"type": "subscribed", "channel": "a:b", "position": "e-1", "recovered": False},
        ),
        (Unsubscribed(channel="a:b", ref="x"), {"type": "unsubscribed", "channel": "a:b", "ref": "x"}),
        (Pong(timestamp="t"), {"type": "pong", "timestamp": "t"}),
        (Authenticated(expires_at="t"), {"type": "authenticated", "expires_at": "t"}),
        (Resync(channel="a:b", position="e-1"), {"type": "resync", "channel": "a:b", "position": "e-1"}),
        (
            Error(code=Code.FORBIDDEN, message="no", ref=1, channel="a:b"),
            {"type": "error", "code": "forbidden", "message": "no", "ref": 1, "channel": "a:b"},
        ),
        (Error(code=Code.INTERNAL, message="no"), {"type": "error", "code": "internal", "message": "no"}),
    ],
)
def test_each_answer_stands_on_the_wire_as_the_contract_has_it(message, wire):
    assert said(message) == wire


def test_every_message_has_a_type_of_its_own():
    for group in (native.ClientMessage, native.ServerMessage):
        tags = [kind.__struct_config__.tag for kind in group.__subclasses__()]
        assert len(tags) == len(set(tags))


def test_what_the_server_says_is_plain_json():
    assert msgspec.json.decode(encode(Pong(timestamp="é"))) == {"type": "pong", "timestamp": "é"}
