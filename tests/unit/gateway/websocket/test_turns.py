"""How long a client's turn is, by how many wait for theirs."""

from __future__ import annotations

import pytest

from gateway.websocket.turns import SLICE_FRAMES, TURN_FRAMES, Turns


@pytest.mark.parametrize(
    ("waiting", "frames"),
    [(0, SLICE_FRAMES), (1, SLICE_FRAMES), (TURN_FRAMES // SLICE_FRAMES, SLICE_FRAMES), (TURN_FRAMES, 1)],
)
def test_turns_are_long_until_many_wait(waiting, frames):
    turns = Turns()
    turns.waiting = waiting
    assert turns.slice_frames == frames


@pytest.mark.parametrize("waiting", [17, 100, TURN_FRAMES, 10_000])
def test_all_who_wait_get_no_more_than_a_turn_and_each_gets_one_frame(waiting):
    turns = Turns()
    turns.waiting = waiting
    assert turns.slice_frames >= 1
    assert turns.slice_frames * waiting <= max(TURN_FRAMES, waiting)
