"""The walk over the headers of a client's frames: what it counts and refuses, however the bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.websocket.frame_rules import (
    CONTROL,
    FRAGMENT,
    FRAGMENT_BYTES,
    LARGE_FRAGMENT,
    MESSAGE,
    FrameWalk,
    may_close_with,
)
from tests.raw_socket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame

MANY = 1_000_000


def walk(data: bytes, frames: int = MANY) -> tuple[FrameWalk, int]:
    """A walk over all of it, and where it ended."""
    walk = FrameWalk()
    return walk, walk.walk(data, 0, len(data), frames)


def counts(data: bytes) -> dict[int, int]:
    found, end = walk(data)
    assert (found.violation, end) == (None, len(data))
    return {kind: count for kind, count in enumerate(found.take_counts()) if count}


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 100_000])
def test_a_frame_of_any_size_is_a_message(size):
    assert counts(frame(TEXT, b"x" * size)) == {MESSAGE: 1}
    assert counts(frame(BINARY, b"x" * size) * 2) == {MESSAGE: 2}


def test_frames_are_counted_by_what_they_cost():
    begin, end = frame(TEXT, b"", final=False), frame(CONTINUATION, b"")
    small = frame(CONTINUATION, b"x" * (FRAGMENT_BYTES - 1), final=False)
    large = frame(CONTINUATION, b"x" * FRAGMENT_BYTES, final=False)
    controls = frame(PING, b"x") + frame(PONG, b"") + frame(CLOSE, b"\x03\xe8")
    assert counts(begin + small + large * 3 + controls + end) == {
        MESSAGE: 1,
        CONTROL: 3,
        FRAGMENT: 2,
        LARGE_FRAGMENT: 3,
    }


def test_the_bytes_of_a_message_are_known_until_it_ends():
    begin, end = frame(TEXT, b"x" * 100, final=False), frame(CONTINUATION, b"")
    masks = 4
    assert walk(begin)[0].message_bytes == 100 + masks
    assert walk(begin + frame(PING, b"ping") + begin[:1])[0].message_bytes == 100 + masks
    assert walk(begin + frame(CONTINUATION, b"x" * 50, final=False))[0].message_bytes == 150 + 2 * masks
    assert walk(begin + end)[0].message_bytes == 0
    assert walk(begin + end + frame(TEXT, b"x" * 100)[:-40])[0].message_bytes == 60 + masks


def test_what_was_counted_is_told_once():
    found, _ = walk(frame(TEXT, b"x"))
    assert [found.take_counts(), found.take_counts()] == [[1, 0, 0, 0], [0, 0, 0, 0]]


def test_a_walk_ends_after_as_many_frames_as_it_may():
    one = frame(PING, b"x")
    found, end = walk(one * 10, frames=3)
    assert end == 3 * len(one)
    assert found.walk(one * 10, end, 10 * len(one), 4) == 7 * len(one)


@pytest.mark.parametrize("size", [5, 200, 70_000])
def test_a_header_that_is_not_whole_is_waited_for(size):
    whole = frame(TEXT, b"x" * size)
    header = len(whole) - size - 4  # the mask counts as payload
    for length in range(header):
        found, end = walk(whole[:length])
        assert (end, found.violation, found.take_counts()) == (0, None, [0, 0, 0, 0])
    assert walk(whole[: header + 1])[1] == header + 1


VIOLATIONS = {
    "no mask": frame(TEXT, b"{}", masked=False),
    "a ping without a mask": frame(PING, b"", masked=False),
    "a long frame without a mask": frame(TEXT, b"x" * 70_000, masked=False),
    "a length of 5 in two bytes": b"\x81\xfe\x00\x05mask12345",
    "a length of 125 in two bytes": b"\x81\xfe\x00\x7d" + b"x" * 129,
    "a length of 5 in eight bytes": b"\x81\xff" + (5).to_bytes(8, "big") + b"mask12345",
    "a length of 65,535 in eight bytes": b"\x81\xff" + (65_535).to_bytes(8, "big"),
    "a continuation of nothing": frame(CONTINUATION, b"x"),
    "a message amid a message": frame(TEXT, b"x", final=False) + frame(TEXT, b"x"),
    "a message amid an empty message": frame(TEXT, b"", final=False) + frame(TEXT, b"x"),
    "a beginning amid a beginning": frame(TEXT, b"", final=False) + frame(BINARY, b"", final=False),
    "a continuation after the end": frame(TEXT, b"", final=False) + frame(CONTINUATION, b"") * 2,
}


@pytest.mark.parametrize("data", VIOLATIONS.values(), ids=VIOLATIONS)
def test_what_a_client_must_not_do_is_refused_after_what_came_before_it(data):
    before = frame(TEXT, b"fine") + frame(PING, b"")
    found, _ = walk(before + data + before)
    assert found.violation
    messages, controls, fragments, _ = found.take_counts()
    assert (messages >= 1, controls, fragments) == (True, 1, 1 if "amid" in found.violation else fragments)
    assert found.walk(before, 0, 0, MANY) == 0


FRAMES = st.one_of(
    st.builds(frame, st.sampled_from([PING, PONG]), st.binary(max_size=125)),
    st.builds(frame, st.sampled_from([TEXT, BINARY]), st.binary(max_size=300)),
    st.lists(st.binary(max_size=200), min_size=1, max_size=5).map(
        lambda parts: b"".join(
            frame(CONTINUATION if number else TEXT, part, final=number == len(parts) - 1)
            for number, part in enumerate(parts)
        )
    ),
)


@given(st.lists(FRAMES, max_size=8).map(b"".join), st.data())
def test_frames_cut_anywhere_are_the_same_frames(data: bytes, draw: st.DataObject) -> None:
    whole = counts(data)
    found, waiting, at = FrameWalk(), b"", 0
    while at < len(data) or waiting:
        size = draw.draw(st.integers(1, 40))
        waiting, at = waiting + data[at : at + size], at + size
        waiting = waiting[found.walk(waiting, 0, len(waiting), 3) :]
    assert {kind: count for kind, count in enumerate(found.take_counts()) if count} == whole


@given(st.binary(max_size=2_000))
def test_a_walk_over_anything_ends_where_it_may_go_on(data: bytes) -> None:
    found, end = walk(data)
    assert 0 <= end <= len(data)
    if found.violation is None:
        assert len(data) - end < 10
    assert repr(found).startswith("<FrameWalk ")


def test_only_codes_that_may_stand_in_a_frame_may_be_sent():
    allowed = {code for code in range(65_536) if may_close_with(code)}
    ours = {1000, 1001, 1002, 1003, *range(1007, 1015)}
    assert allowed == ours | set(range(3_000, 5_000))
