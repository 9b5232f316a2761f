import json
import random
import struct

import msgspec
import pytest

from gateway.wire.frames import (
    PIECE_BYTES,
    PING,
    close_frame,
    joined_pieces,
    text_frame,
)
from gateway.wire.native import NativeCodec
from realtime.channels import Channel, Event, Table, parse_channel
from realtime.publications import Publication, Sender, broadcast_line, change_line, line_prefix

USERS = Table("public", "users")
COMMITTED = "2024-05-01T10:00:00.000000Z"


def read_frames(stream: bytes) -> list[tuple[int, bytes]]:
    """Opcode and payload of each frame; a client's view of RFC 6455, strict about what a server must do."""
    frames = []
    while stream:
        first, second = stream[:2]
        assert first & 0xF0 == 0x80, "final, no extension"
        assert second & 0x80 == 0, "not masked"
        length, at = second, 2
        if length == 126:
            (length,), at = struct.unpack("!H", stream[2:4]), 4
            assert length > 125, "the shortest form"
        elif length == 127:
            (length,), at = struct.unpack("!Q", stream[2:10]), 10
            assert length > 65_535, "the shortest form"
        assert len(stream) >= at + length, "whole"
        frames.append((first & 0x0F, stream[at : at + length]))
        stream = stream[at + length :]
    return frames


def messages(pieces: list[bytes]) -> list[dict]:
    frames = [frame for piece in pieces for frame in read_frames(piece)]
    assert {opcode for opcode, _ in frames} <= {1}
    return [msgspec.json.decode(payload) for _, payload in frames]


def line(event: Event = Event.INSERT, data: str = "{}", table: Table = USERS) -> bytes:
    return change_line(line_prefix(table, event), data, None, COMMITTED, False).encode()


def all_pieces(channel: Channel, publication: Publication) -> list[bytes]:
    return joined_pieces(NativeCodec().encode_lines(channel, publication, range(len(publication.lines))))


def row(length: int) -> str:
    return json.dumps({"text": "x" * length})


# Frames


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
def test_a_text_frame_of_any_length_reads_back(length):
    payload = b"x" * length
    assert read_frames(text_frame(payload)) == [(1, payload)]


@pytest.mark.parametrize(
    ("length", "header"),
    [
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_header_has_the_shortest_form(length, header):
    assert text_frame(b"x" * length)[: len(header)] == header


def test_control_frames_are_whole_and_short():
    assert read_frames(PING) == [(9, b"")]
    assert read_frames(close_frame(4401)) == [(8, struct.pack("!H", 4401))]


# Changes


def test_a_change_becomes_the_message_of_the_contract():
    publication = Publication("k3v9", 17, [line(data='{"id":1}')])
    assert messages(all_pieces(parse_channel("table:users"), publication)) == [
        {
            "type": "realtime",
            "channel": "table:users",
            "schema": "public",
            "table": "users",
            "event": "INSERT",
            "data": {"id": 1},
            "old": None,
            "commit_timestamp": COMMITTED,
            "id": "k3v9-17",
        }
    ]


@pytest.mark.parametrize(
    "name", ["table:users", "table:public.users", 'table:"public"."users"', "table:users:INSERT"]
)
def test_the_channel_is_spelled_as_the_client_spelled_it(name):
    [message] = messages(all_pieces(parse_channel(name), Publication("e", 1, [line()])))
    assert message["channel"] == name


def test_odd_names_reach_the_client_unharmed():
    channel = parse_channel('table:"a.b"."say ""hé"" \\":INSERT')
    assert channel.table is not None
    publication = Publication("e", 1, [line(table=channel.table)])
    [message] = messages(all_pieces(channel, publication))
    assert (message["channel"], message["table"]) == (channel.name, 'say "hé" \\')


def test_row_data_passes_byte_for_byte():
    data = '{"n": 12345678901234567890.10, "big": 1E400, "k": 1, "k": 2}'
    [piece] = all_pieces(parse_channel("table:users"), Publication("e", 1, [line(data=data)]))
    assert data.encode() in piece


def test_only_the_lines_that_were_chosen_are_encoded_with_their_own_ids():
    events = [Event.INSERT, Event.DELETE, Event.UPDATE]
    publication = Publication("e", 10, [line(each) for each in events])
    got = messages(
        joined_pieces(NativeCodec().encode_lines(parse_channel("table:users"), publication, [0, 2]))
    )
    assert [(message["id"], message["event"]) for message in got] == [("e-10", "INSERT"), ("e-12", "UPDATE")]
    assert joined_pieces(NativeCodec().encode_lines(parse_channel("table:users"), publication, [])) == []


def test_whom_a_broadcast_is_not_for_is_no_part_of_its_message():
    said = broadcast_line(b'"hi"', Sender("ann", "u1"), "2024", to_self=False)
    [message] = messages(all_pieces(parse_channel("room:a"), Publication("e", 1, [said])))
    assert message == {
        "type": "broadcast",
        "channel": "room:a",
        "payload": "hi",
        "sender": {"connection_id": "ann", "user_id": "u1"},
        "timestamp": "2024",
        "id": "e-1",
    }


@pytest.mark.parametrize("payload", [124, 125, 126, 127, 65_534, 65_535, 65_536, 65_537])
def test_a_change_of_any_size_is_one_whole_frame(payload):
    channel, small = parse_channel("table:a"), Publication("e", 1, [b'I"d":""'])
    [(_, text)] = read_frames(all_pieces(channel, small)[0])
    padded = b'I"d":"' + b"x" * (payload - len(text)) + b'"'
    [piece] = all_pieces(channel, Publication("e", 1, [padded]))
    [(_, text)] = read_frames(piece)
    assert len(text) == payload


def test_ids_grow_in_length_without_harm():
    publication = Publication("e", 98, [line()] * 5)
    got = messages(all_pieces(parse_channel("table:users"), publication))
    assert [message["id"] for message in got] == ["e-98", "e-99", "e-100", "e-101", "e-102"]


# Pieces


def test_a_burst_is_cut_into_pieces_that_end_where_frames_end():
    publication = Publication("e", 1, [line(data=row(1_000))] * 200)
    pieces = all_pieces(parse_channel("table:users"), publication)
    assert [message["id"] for message in messages(pieces)] == [f"e-{n}" for n in range(1, 201)]
    assert len(pieces) > 1
    assert all(PIECE_BYTES <= len(piece) < PIECE_BYTES + 2_000 for piece in pieces[:-1])


def test_small_changes_leave_in_one_piece():
    publication = Publication("e", 1, [line()] * 100)
    assert len(all_pieces(parse_channel("table:users"), publication)) == 1


def test_a_change_over_a_piece_is_not_cut():
    publication = Publication("e", 1, [line(data=row(3 * PIECE_BYTES)), line()])
    pieces = all_pieces(parse_channel("table:users"), publication)
    assert [len(read_frames(piece)) for piece in pieces] == [1, 1]


@pytest.mark.parametrize("seed", range(5))
def test_any_publication_reads_back_whole(seed):
    chance = random.Random(seed)
    rows = [(chance.choice(list(Event)), row(chance.choice([0, 5, 60, 70, 900, 66_000]))) for _ in range(60)]
    publication = Publication("e", chance.randint(1, 10**12), [line(*each) for each in rows])
    channel = parse_channel("table:users")
    assert [
        (message["id"], message["event"], message["data"])
        for message in messages(all_pieces(channel, publication))
    ] == [
        (f"e-{offset}", event, json.loads(data))
        for offset, (event, data) in enumerate(rows, publication.first)
    ]
