"""The door in front of aiohttp's reader: what is let in, when, and what waits meanwhile in the network."""

from __future__ import annotations

import asyncio
import math
import time

import pytest

from gateway.websocket.intake import EARLY_BYTES, REFUSED, SLICE_BYTES
from gateway.websocket.pace import STRANGER_BYTES
from gateway.websocket.turns import SLICE_FRAMES, TURN_FRAMES, Turns
from tests.door_fixture import Play
from tests.gateway_fixture import eventually
from tests.raw_socket import CLOSE, CONTINUATION, PING, PONG, TEXT, frame

ONE = frame(PING, b"x")


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_nothing_is_read_and_nothing_let_in_before_the_client_is():
    play = Play(early=ONE)
    assert not play.transport.is_read
    assert play.door.feed_data(ONE) == (False, b"")
    assert play.reader.heard == b""
    play.open()
    assert play.reader.heard == 2 * ONE
    assert play.transport.is_read


async def test_a_frame_goes_straight_on():
    play = Play().open()
    for _ in range(3):
        play.door.feed_data(ONE)
    assert play.reader.slices == [len(ONE)] * 3
    assert play.transport.is_read


async def test_what_was_let_in_is_not_kept():
    play = Play().open()
    for data in (ONE, ONE + ONE[:1], ONE[1:]):
        play.door.feed_data(data)
        await turns(2)
    assert play.reader.heard == 3 * ONE
    assert play.door._waiting == b""


async def test_many_frames_at_once_are_let_in_as_they_are_taken():
    play = Play().open()
    play.door.feed_data(ONE * 1_000)
    await turns(10)
    assert play.reader.heard == ONE * SLICE_FRAMES
    assert not play.transport.is_read
    for _ in range(SLICE_FRAMES - 1):
        play.door.taken()
    await turns(10)
    assert play.reader.heard == ONE * SLICE_FRAMES
    play.door.taken()
    await turns(1)
    assert play.reader.heard == ONE * 2 * SLICE_FRAMES


async def test_what_aiohttp_resumes_is_paused_again():
    play = Play().open()
    play.door.feed_data(ONE * 100)
    play.transport.resume_reading()
    play.door.taken()
    assert not play.transport.is_read


@pytest.mark.parametrize("flooders", [5, 140, 1_000])
async def test_many_clients_that_send_much_share_the_turns_of_the_loop(flooders):
    """Each takes what was let in at once, as a connection does that answers without waiting."""
    shared = Turns()
    plays = [Play(turns=shared).open() for _ in range(flooders)]
    for play in plays:
        play.door.feed_data(ONE * 2_000)

    def let_in() -> int:
        return sum(len(play.reader.heard) for play in plays) // len(ONE)

    def take() -> None:
        for play in plays:
            for _ in range(SLICE_FRAMES):
                play.door.taken()

    for turn in range(20):
        take()
        before = let_in()
        await turns(1)
        assert turn < 2 or flooders // 2 <= let_in() - before <= max(TURN_FRAMES, flooders)
    bystander = Play(turns=shared).open()
    bystander.door.feed_data(ONE)
    assert bystander.reader.heard == ONE
    for play in plays:
        play.door.feed_eof()
    assert repr(shared) == f"<Turns of {SLICE_FRAMES} frames, 0 clients wait>"


async def test_who_sends_half_a_header_or_is_not_let_in_shortens_nobodys_turns():
    shared = Turns()
    Play(turns=shared).open().door.feed_data(ONE + ONE[:1])
    Play(ONE * 1_000, turns=shared).door.feed_data(ONE)
    await turns(2)
    assert shared.waiting == 0


async def test_a_hundred_thousand_fragments_take_many_turns_and_are_all_counted():
    """Nobody takes a fragment, so that nothing but the slices holds them up."""
    play = Play().open()
    play.door.feed_data(frame(TEXT, b"", final=False) + frame(CONTINUATION, b"", final=False) * 99_999)
    assert play.counted == [0, SLICE_FRAMES]
    assert not play.transport.is_read
    await turns(100_000 // SLICE_FRAMES - 1)
    assert play.counted == [0, 100_000]
    await turns(1)
    assert play.transport.is_read


async def test_a_large_message_is_let_in_over_several_turns():
    play = Play().open()
    play.door.feed_data(frame(TEXT, b"x" * 10 * SLICE_BYTES))
    assert play.reader.slices == [SLICE_BYTES]
    await turns(20)
    assert play.reader.heard == frame(TEXT, b"x" * 10 * SLICE_BYTES)
    assert play.transport.is_read


async def test_a_header_in_pieces_is_waited_for_and_read_on():
    play = Play().open()
    data = frame(TEXT, b"x" * 200)
    for byte in data:
        play.door.feed_data(bytes([byte]))
        await turns(3)
        assert play.transport.is_read
    assert play.reader.heard == data


async def test_a_violation_closes_after_what_came_before_it_and_nothing_follows():
    play = Play().open()
    unmasked = frame(TEXT, b"x", masked=False)
    assert play.door.feed_data(ONE + unmasked + ONE) == (True, b"")
    assert play.reader.heard == ONE + REFUSED
    assert play.door.feed_data(ONE) == (True, b"")
    await turns(5)
    assert play.reader.heard == ONE + REFUSED
    assert not play.transport.is_read


async def test_what_aiohttp_refuses_ends_the_reading_too():
    play = Play().open()
    assert play.door.feed_data(b"\xff\xff") == (False, b"")  # a header of which the length is to come
    reserved = b"\xf1" + frame(TEXT, b"x")[1:]
    play.reader.feed_data = lambda data: (True, b"")  # type: ignore[method-assign]
    assert play.door.feed_data(reserved * 3) == (True, b"")
    assert not play.transport.is_read


async def test_much_before_the_answer_to_the_upgrade_is_not_kept():
    for size, is_kept in [(EARLY_BYTES, True), (EARLY_BYTES + 1, False)]:
        early = b"\x82\xff" + size.to_bytes(8, "big") + b"x" * (size - 10)
        play = Play(early=early).open()
        assert play.reader.heard == (early if is_kept else REFUSED)
        assert play.door.is_dead is not is_kept


async def test_a_client_far_beyond_its_rate_waits_and_is_read_again():
    play = Play(rate=1).open()
    play.door.feed_data(frame(TEXT, b"", final=False) + frame(CONTINUATION, b"", final=False) * 2_999)
    await turns(3_000)
    assert 2_000 <= play.counted[1] < 3_000
    assert not play.transport.is_read
    await eventually(lambda: play.counted[1] == 3_000 and play.transport.is_read)


async def test_a_door_that_closes_waits_for_nobody_to_take_anything():
    play = Play().open()
    play.door.feed_data(ONE * 1_000)
    play.door.close()
    await turns(1_000 // SLICE_FRAMES + 2)
    assert play.reader.heard == ONE * 1_000
    assert play.counted == [SLICE_FRAMES, 0]


async def test_what_aiohttp_resumes_of_a_door_that_closes_is_paused_again():
    play = Play().open()
    play.door.feed_data(ONE * 1_000)
    play.door.close()
    play.transport.resume_reading()
    play.door.feed_data(ONE)
    assert not play.transport.is_read


async def test_a_door_that_was_never_opened_lets_in_little_when_it_closes():
    play = Play()
    play.door.close()
    play.door.feed_data(ONE)
    assert play.reader.heard == ONE
    large, began = frame(TEXT, b"x" * (SLICE_BYTES - 8)), time.monotonic()
    for _ in range(100):
        play.door.feed_data(large)
        await turns(3)
    later = STRANGER_BYTES * (time.monotonic() - began)
    assert len(ONE) < len(play.reader.heard) <= len(ONE) + 2 * (SLICE_BYTES + later)
    assert not play.transport.is_read


async def test_a_door_that_was_never_opened_lets_a_close_in_that_comes_behind_a_few_frames():
    play = Play(early=frame(TEXT, b"x" * 1_000) * 10)
    play.door.close()
    play.door.feed_data(frame(CLOSE, b"\x03\xe8"))
    assert play.reader.heard.endswith(frame(CLOSE, b"\x03\xe8"))


async def test_a_message_that_does_not_end_counts_until_it_does():
    play = Play().open()
    play.door.feed_data(frame(TEXT, b"x" * 30_000, final=False))
    assert 30_000 <= play.door.waiting_bytes < 30_010
    for _ in range(3):
        play.door.feed_data(frame(PONG, b""))
        play.door.taken()
        await turns(2)
    assert 30_000 <= play.door.waiting_bytes < 30_010
    play.door.feed_data(frame(CONTINUATION, b"x" * 20_000, final=False))
    assert 50_000 <= play.door.waiting_bytes < 50_020
    play.door.feed_data(frame(CONTINUATION, b"x" * 1_000)[:500])
    assert 50_000 <= play.door.waiting_bytes < 51_000
    play.door.feed_data(frame(CONTINUATION, b"x" * 1_000)[500:])
    play.door.taken()
    assert play.door.waiting_bytes == 0


async def test_a_door_that_was_never_opened_can_be_closed():
    play = Play(early=ONE)
    play.door.close()
    assert play.reader.heard == ONE
    assert play.transport.is_read
    play.open()
    assert play.counted == [0, 0]


@pytest.mark.parametrize("rate", [1, math.inf])
async def test_nothing_is_left_of_a_connection_that_is_gone(rate):
    play = Play(rate=rate).open()
    play.door.feed_data(frame(TEXT, b"", final=False) + frame(CONTINUATION, b"", final=False) * 2_999)
    await turns(3_000 if rate == 1 else 1)
    heard = play.reader.heard
    play.door.feed_eof()
    assert play.reader.is_at_end
    await turns(10)
    assert play.reader.heard == heard
    assert repr(play.door) == f"<FrameIntake DEAD, 0 bytes wait, {play.door._untaken} untaken>"
