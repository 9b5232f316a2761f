"""Lines for a terminal that may stop: nobody waits for it, and what is missing is said."""

from __future__ import annotations

import os
import select
import threading

from realtime.cli.screen import Screen

WAIT_SECONDS = 30.0


def read_until(descriptor: int, end: bytes) -> str:
    found = b""
    while end not in found:
        assert select.select([descriptor], [], [], WAIT_SECONDS)[0], "nothing more comes"
        found += os.read(descriptor, 65_536)
    return found.decode()


def test_lines_come_in_their_order_and_all_before_the_end() -> None:
    reading, writing = os.pipe()
    with Screen(writing) as screen:
        screen.show("a", "é")
        screen.show("c")
    os.close(writing)
    assert os.read(reading, 100).decode() == "a\né\nc\n"
    os.close(reading)


def test_a_character_that_the_terminal_has_not_is_an_escape() -> None:
    reading, writing = os.pipe()
    with Screen(writing, "ascii") as screen:
        screen.show("é")
    os.close(writing)
    assert os.read(reading, 100) == b"\\xe9\n"
    os.close(reading)


def test_a_terminal_that_stops_holds_nobody_up_and_learns_how_much_is_missing() -> None:
    reading, writing = os.pipe()
    screen = Screen(writing, most_lines=10)
    with screen:
        for _ in range(2_000):  # far more than the pipe takes
            screen.show("x" * 1_000)
        screen_is_stuck = threading.Thread(target=screen.show, args=("y",), daemon=True)
        screen_is_stuck.start()
        screen_is_stuck.join(WAIT_SECONDS)
        assert not screen_is_stuck.is_alive()
        text = read_until(reading, b"lines are missing here")
        assert text.count("x" * 1_000) < 2_000
    os.close(writing)
    os.close(reading)


def test_a_terminal_that_is_gone_ends_it_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with Screen(writing) as screen:
        screen.show("a", "b")
    os.close(writing)


def test_a_terminal_that_another_program_made_non_blocking_gets_all_lines() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with Screen(writing) as screen:
        screen.show(*["x" * 1_000] * 400)  # more than the pipe takes
        screen.show("the end")
        text = read_until(reading, b"the end\n")
    assert text.count("x" * 1_000) == 400
    os.close(writing)
    os.close(reading)
