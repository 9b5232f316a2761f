"""Messages of clients: what is read, what is refused, and how answers are written.

Long by the table of what is refused.
"""

import json
import random
from typing import Any

import msgspec
import pytest

from gateway.wire import native_messages
from gateway.wire.commands import (
    Authenticate,
    Broadcast,
    Malformed,
    Ping,
    Subscribe,
    Unsubscribe,
    UpdatePresence,
)
from gateway.wire.events import (
    Acknowledged,
    Closing,
    Joined,
    Left,
    Pong,
    PresenceChange,
    PresenceChanged,
    Reauthenticated,
    Refused,
    Resync,
    ServerEvent,
    Welcomed,
)
from gateway.wire.frames import text_frame
from gateway.wire.native import NativeCodec
from realtime.channels import parse_channel
from realtime.errors import Code
from realtime.publications import Position

NOW = 1_700_000_000.0
HERE = Position("e", 1)
LONGEST_REF = "é" * 64
DEEP = "[" * 10_000 + "]" * 10_000
HUGE = 10**80


decode, encode = NativeCodec().decode, NativeCodec().encode


def refusal(text: str) -> Refused:
    command = decode(text)
    assert isinstance(command, Malformed)
    assert said(command.refusal)["type"] == "error"
    return command.refusal


def payload(frame: bytes) -> bytes:
    """What a text frame of less than 64 KiB carries."""
    start = 4 if frame[1] == 126 else 2
    assert text_frame(frame[start:]) == frame
    return frame[start:]


def said(event) -> dict:
    return json.loads(payload(encode(event)))


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
        (
            '{"type":"broadcast","channel":"a:b","payload":{"n": 1.50},"ref":1}',
            Broadcast("a:b", b'{"n": 1.50}', to_self=True, ref=1),
        ),
        (
            '{"type":"broadcast","channel":"a:b","payload":null,"self":null}',
            Broadcast("a:b", b"null", to_self=True),
        ),
        (
            '{"type":"broadcast","channel":"a:b","payload":5,"self":false}',
            Broadcast("a:b", b"5", to_self=False),
        ),
        ('{"type":"presence","state":{"n": 1}}', UpdatePresence(b'{"n": 1}')),
        ('{"type":"presence","state": null ,"channel":"a:b"}', UpdatePresence(None, "a:b")),
        ('{"type":"presence","state":5,"ref":1}', UpdatePresence(b"5", ref=1)),
        ('{"type":"auth","token":"abc"}', Authenticate("abc")),
        ('{"type":"auth","token":"abc","ref":0}', Authenticate("abc", ref=0)),
    ],
)
def test_each_message_of_the_contract_is_understood(text, message):
    assert decode(text) == message


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ('"user_id=eq.42"', "user_id=eq.42"),
        ('"name=eq.\\u00e9"', "name=eq.é"),
        ('""', ""),
        ("5", "5"),
        ('["a", 1]', '["a", 1]'),
        (" null ", None),
        ("null\n", None),
    ],
)
def test_a_filter_is_the_text_that_the_client_wrote(written, text):
    command = decode(f'{{"type":"subscribe","channel":"table:users","filter":{written}}}')
    assert command == Subscribe("table:users", filter=text)


@pytest.mark.parametrize("field", ["since", "filter", "ref"])
def test_an_optional_field_that_is_null_is_not_there(field):
    text = '{"type":"subscribe","channel":"a:b"%s}'
    given, left_out = decode(text % f',"{field}":null'), decode(text % "")
    assert given == left_out == Subscribe("a:b")


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
    assert isinstance(message, Ping)
    assert said(Pong(NOW, ref=message.ref))["ref"] == ref


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
    assert (error.code, error.ref) == (Code.INVALID_MESSAGE, None)
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
    assert refusal('{"type":"subscribe","channel":5}').channel is None
    assert refusal('{"type":"ping","ref":[]}').channel is None


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
        if isinstance(message, Malformed):
            assert message.refusal.code in {Code.INVALID_JSON, Code.INVALID_MESSAGE, Code.UNKNOWN_TYPE}
            encode(message.refusal)


# What the server says


def error(**fields) -> dict:
    return {"type": "error", "message": "no", **fields}


WIRE: list[tuple[ServerEvent, dict[str, Any]]] = [
    (
        Welcomed("c", "demo", None, NOW, 25.0),
        {
            "type": "connected",
            "connection_id": "c",
            "project_id": "demo",
            "user_id": None,
            "expires_at": "2023-11-14T22:13:20.000000Z",
            "heartbeat_seconds": 25,
        },
    ),
    (
        Joined(parse_channel("table:users"), HERE, True, True, ref=1),
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
        Joined(parse_channel("table:users"), HERE, False, None),
        {
            "type": "subscribed",
            "channel": "table:users",
            "position": "e-1",
            "recovered": False,
            "enabled": None,
        },
    ),
    (
        Joined(parse_channel("a:b"), HERE, False),
        {"type": "subscribed", "channel": "a:b", "position": "e-1", "recovered": False},
    ),
    (Left("a:b", ref="x"), {"type": "unsubscribed", "channel": "a:b", "ref": "x"}),
    (Pong(NOW), {"type": "pong", "timestamp": "2023-11-14T22:13:20.000000Z"}),
    (Acknowledged(0), {"type": "ack", "ref": 0}),
    (Reauthenticated(NOW), {"type": "authenticated", "expires_at": "2023-11-14T22:13:20.000000Z"}),
    (Resync("a:b", HERE), {"type": "resync", "channel": "a:b", "position": "e-1"}),
    (Closing(1_234), {"type": "reconnect", "reason": "draining", "after_ms": 1234}),
    (
        PresenceChanged("presence", PresenceChange.SYNC, [b'{"n":1}', b'{"n":2}'], more=True),
        {
            "type": "presence",
            "channel": "presence",
            "event": "sync",
            "presences": [{"n": 1}, {"n": 2}],
            "more": True,
        },
    ),
    (
        PresenceChanged("presence", PresenceChange.SYNC, []),
        {"type": "presence", "channel": "presence", "event": "sync", "presences": [], "more": False},
    ),
    (
        PresenceChanged('presence:"', PresenceChange.LEAVE, [b"{}"]),
        {"type": "presence", "channel": 'presence:"', "event": "leave", "presences": [{}]},
    ),
    (
        Refused(Code.FORBIDDEN, "no", ref="", channel="a:b"),
        error(code="forbidden", ref="", channel="a:b"),
    ),
    (Refused(Code.INTERNAL, "no"), error(code="internal")),
]


@pytest.mark.parametrize(("event", "wire"), WIRE)
def test_each_event_stands_on_the_wire_as_the_contract_has_it(event, wire):
    assert said(event) == wire
    assert next(iter(said(event))) == "type"


def test_every_message_of_the_server_is_an_event_on_the_wire():
    written = {wire["type"] for _, wire in WIRE} - {"presence"}  # made of the text of its entries
    assert written == {kind.__struct_config__.tag for kind in native_messages.ServerMessage.__subclasses__()}


@pytest.mark.parametrize(("seconds", "written"), [(25.0, b"25"), (25, b"25"), (0.5, b"0.5")])
def test_heartbeat_seconds_are_whole_where_they_can_be(seconds, written):
    frame = encode(Welcomed("c", "demo", "alice", NOW, seconds))
    assert b'"heartbeat_seconds":' + written + b"}" in frame


def test_every_message_has_a_type_of_its_own():
    for group in (native_messages.ClientMessage, native_messages.ServerMessage):
        tags = [kind.__struct_config__.tag for kind in group.__subclasses__()]
        assert len(tags) == len(set(tags))


def test_what_the_server_says_is_plain_json():
    left = encode(Left("a:é"))
    assert msgspec.json.decode(payload(left)) == {"type": "unsubscribed", "channel": "a:é"}
