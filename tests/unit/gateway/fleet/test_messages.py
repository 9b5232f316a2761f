"""What comes into an inbox: messages of nodes, and whatever else somebody writes there."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fleet.messages import (
    ANSWER_OF,
    MAX_MESSAGE_BYTES,
    Answered,
    AskChannels,
    AskClients,
    AskCount,
    AskDisconnect,
    Asked,
    AskStats,
    Channels,
    Count,
    Question,
    is_id,
    read,
    written,
)

QUESTIONS: list[Question] = [
    AskStats(),
    AskCount("alice"),
    AskClients(after="", limit=51, max_bytes=1_000, user_id="alice"),
    AskChannels(after="a", prefix="room:", limit=51, max_bytes=1_000),
    AskDisconnect(user_id="alice", reconnect=True),
]


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_read_as_it_was_asked(question):
    asked = Asked(id="1f", node="2e", project="demo", question=question)
    assert read(written(asked)) == asked


def test_every_question_has_a_kind_of_answer():
    assert set(ANSWER_OF) == {type(question) for question in QUESTIONS}


def test_an_answer_is_read_as_it_was_given():
    answered = Answered(id="1f", node="2e", answer=Channels([("room:a", 2)], False))
    assert read(written(answered)) == answered


def test_a_field_that_a_newer_node_adds_is_ignored():
    message = msgspec.json.decode(written(Answered(id="1f", node="2e", answer=Count(3))))
    message["answer"]["newer"] = message["newer"] = 1
    assert read(msgspec.json.encode(message)) == Answered(id="1f", node="2e", answer=Count(3))


GOOD = msgspec.json.decode(written(Asked(id="1f", node="2e", project="demo", question=QUESTIONS[2])))


@pytest.mark.parametrize(
    "change",
    [
        {"id": "../x"},
        {"node": "a b"},
        {"node": ""},
        {"project": "x" * 64},
        {"type": "other"},
        {"question": None},
        {"question": {"type": "clients", "after": "", "limit": 10**9, "max_bytes": 1}},
        {"question": {"type": "clients", "after": "", "limit": 1, "max_bytes": 10**9}},
        {"question": {"type": "clients", "after": "", "limit": 0, "max_bytes": 1}},
        {"question": {"type": "count", "user_id": "x" * 16_385}},
        {"question": {"type": "unheard of"}},
    ],
)
def test_a_question_that_no_node_asks_is_no_message(change):
    assert read(msgspec.json.encode(GOOD)) is not None
    assert read(msgspec.json.encode(GOOD | change)) is None


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"null", b"[]", b"{}", b"[" * 100_000, b"1e999", b'"\\ud800"']
)
def test_garbage_is_no_message(data):
    assert read(data) is None


@given(st.binary(max_size=200))
def test_whatever_bytes_come_reading_them_raises_nothing(data):
    assert read(data) is None


def test_what_is_longer_than_any_node_sends_is_not_even_decoded():
    message = written(Asked(id="1f", node="2e", project="demo", question=AskStats()))
    assert read(message + b" " * MAX_MESSAGE_BYTES) is None


@pytest.mark.parametrize(
    ("node", "is_one"), [("0f", True), ("", False), ("g", False), ("a" * 33, False), ("a\n", False)]
)
def test_an_id_is_what_nodes_make_themselves(node, is_one):
    assert is_id(node) is is_one
