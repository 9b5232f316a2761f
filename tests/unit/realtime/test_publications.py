import json
import random

import pytest

from gateway.timestamps import rfc3339
from realtime.channels import Event, Table
from realtime.errors import ClientError, Code
from realtime.publications import (
    EVENT_OF_MARK,
    Position,
    Publication,
    Sender,
    broadcast_line,
    change_line,
    is_change,
    line_prefix,
    parse_position,
    read_publication,
    written_at,
)

USERS = Table("public", "users")
COMMITTED = "2024-05-01T10:00:00.000001Z"


def change(table=USERS, event=Event.INSERT, data="{}", old=None, truncated=False) -> str:
    return change_line(line_prefix(table, event), data, old, COMMITTED, truncated)


def facts(line: str):
    return json.loads("{" + line[1:] + "}", parse_float=str, parse_int=str)


# Lines


def test_a_line_says_all_of_a_change_but_channel_and_id():
    assert facts(change(event=Event.UPDATE, data='{"id":2}', old='{"id":1}')) == {
        "schema": "public",
        "table": "users",
        "event": "UPDATE",
        "data": {"id": "2"},
        "old": {"id": "1"},
        "commit_timestamp": COMMITTED,
    }


@pytest.mark.parametrize("event", list(Event))
def test_the_first_byte_of_a_line_tells_the_event(event):
    line = change(event=event).encode()
    assert EVENT_OF_MARK[line[0]] is event
    assert facts(line.decode())["event"] == event


def test_without_a_row_before_old_is_null():
    assert facts(change(old=None))["old"] is None


@pytest.mark.parametrize("truncated", [False, True])
def test_the_time_of_a_change_is_its_own_whatever_the_row_says(truncated):
    data = '{"commit_timestamp":"2001-01-01T00:00:00.000000Z"}'
    line = change(data=data, old=data, truncated=truncated).encode()
    written = written_at(line)
    assert written is not None
    assert (rfc3339(written), is_change(line)) == (COMMITTED, True)


@pytest.mark.parametrize("to_self", [False, True])
def test_the_time_of_a_broadcast_is_its_own_whatever_the_payload_says(to_self):
    payload = b'{"timestamp":"2001-01-01T00:00:00.000000Z"}'
    line = broadcast_line(payload, Sender("c1", 'u","timestamp":"x'), COMMITTED, to_self)
    written = written_at(line)
    assert written is not None
    assert (rfc3339(written), is_change(line)) == (COMMITTED, False)


@pytest.mark.parametrize("at", ["None", "infinity", "12026-01-01T00:00:00.000000Z", ""])
def test_what_is_no_time_of_our_days_is_none(at):
    line = b'I"data":{},"old":null,"commit_timestamp":"%b"' % at.encode()
    assert written_at(line) is None


def test_only_a_truncated_change_says_so():
    assert facts(change(truncated=True))["truncated"] is True
    assert "truncated" not in facts(change())


def test_row_data_stays_as_postgres_wrote_it():
    data = (
        '{"n": 12345678901234567890.10, "b": 9223372036854775807, "s": "a\\nb\\u0001é", "k": 1e400, "k": 2}'
    )
    assert data in change(data=data)
    assert data in change(event=Event.UPDATE, old=data)


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "a\r\nb\x00", "naïve 表", "a\u2028b", "a.b:c"])
def test_odd_table_names_neither_break_the_line_nor_the_json(name):
    line = change(Table(name, name))
    assert "\n" not in line
    assert (facts(line)["schema"], facts(line)["table"]) == (name, name)


# Publications


def test_a_publication_reads_back_as_it_was_written():
    lines = [change(data=json.dumps({"id": n})).encode() for n in range(3)]
    raw = b"k3v9x2ab 17\n" + b"\n".join(lines)
    assert read_publication(raw) == Publication("k3v9x2ab", 17, lines)
    assert read_publication(raw).last == 19


def test_a_publication_of_one_line_ends_where_it_begins():
    publication = read_publication(b"e 1\nIx")
    assert (publication.first, publication.last, publication.lines) == (1, 1, [b"Ix"])


def test_only_line_feeds_end_a_line():
    text = "I\u2028\u0085\r\x0b\x0c\x1c".encode()
    assert read_publication(b"e 1\n" + text + b"\nD").lines == [text, b"D"]


@pytest.mark.parametrize(
    ("offset", "first", "lines"),
    [
        (0, 5, [b"a", b"b", b"c"]),
        (4, 5, [b"a", b"b", b"c"]),
        (5, 6, [b"b", b"c"]),
        (6, 7, [b"c"]),
        (7, 8, []),
    ],
)
def test_what_lies_after_an_offset_keeps_its_numbers(offset, first, lines):
    rest = Publication("e", 5, [b"a", b"b", b"c"]).after(offset)
    assert rest == Publication("e", first, lines)
    assert rest.last == 7


@pytest.mark.parametrize("seed", range(3))
def test_pieces_after_one_another_make_the_whole(seed):
    chance = random.Random(seed)
    whole = Publication("e", chance.randint(1, 9), [b"%d" % n for n in range(chance.randint(1, 9))])
    for offset in range(whole.first - 2, whole.last + 1):
        rest = whole.after(offset)
        kept = whole.lines[: len(whole.lines) - len(rest.lines)]
        assert kept + rest.lines == whole.lines
        assert len(kept) == max(0, offset + 1 - whole.first)


# Positions

EPOCH = "03f9a2ab77c1"


@pytest.mark.parametrize(
    "text", ["03f9a2ab77c1-17", "a" * 12 + "-0", "0" * 12 + "-0", "a" * 12 + "-" + "9" * 15]
)
def test_a_position_reads_back_as_it_was_said(text):
    assert str(parse_position(text)) == text


def test_a_position_is_an_epoch_and_an_offset():
    assert parse_position("03f9a2ab77c1-17") == Position("03f9a2ab77c1", 17)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "-",
            EPOCH,
            f"{EPOCH}-",
            "-1",
            f"{EPOCH}-1-2",
            f"{EPOCH}--1",
            f"{EPOCH}-1 ",
            f" {EPOCH}-1",
            f"{EPOCH}-1\n",
            f"{EPOCH.upper()}-1",
            "a b-1",
            f"{EPOCH}-1.0",
            f"{EPOCH}-+1",
        ),
        # An id of a Redis stream, an epoch cut short, an offset that nobody writes so.
        *("1700000000000-0", "03f9a2ab77c-1", "03f9a2ab77c1-01", "03f9a2ab77g1-1"),
        *(
            f"{EPOCH}-\u0661",
            "é-1",
            EPOCH + "a-1",
            f"{EPOCH}-" + "9" * 16,
            f"{EPOCH}-1\0",
            "\ud800-1",
            f"{EPOCH}-0x1",
            f"{EPOCH}-1_0",
        ),
    ],
)
def test_anything_else_is_no_position(text):
    with pytest.raises(ClientError) as caught:
        parse_position(text)
    assert caught.value.code is Code.INVALID_MESSAGE
    assert "since" in caught.value.message


# Times


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1_700_000_000.5, "2023-11-14T22:13:20.500000Z"),
        (1_700_000_000.000001, "2023-11-14T22:13:20.000001Z"),
        (253_402_300_799, "9999-12-31T23:59:59.000000Z"),
        (-1, "1969-12-31T23:59:59.000000Z"),
    ],
)
def test_a_time_is_in_utc_with_microseconds(seconds, text):
    assert rfc3339(seconds) == text
