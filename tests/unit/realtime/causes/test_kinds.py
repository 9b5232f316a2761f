"""What a server said becomes one short line."""

from __future__ import annotations

import pytest

from realtime.causes.kinds import MAX_DETAIL, Cause, Finding, quoted


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("no such role", "no such role"),
        ("no such role.", "no such role"),
        ("two\nlines\r\n  and\ttabs", "two lines and tabs"),
        ("a bell\x07 and \x1b[31mred", "a bell and [31mred"),
        ("", ""),
    ],
)
def test_it_is_one_line_that_does_nothing_to_a_terminal(said: str, expected: str) -> None:
    assert quoted(said) == expected


def test_it_is_cut() -> None:
    assert quoted("x" * 10_000) == "x" * MAX_DETAIL


def test_a_finding_says_what_the_server_said_if_it_said_something() -> None:
    assert str(Finding(Cause.LOGIN, "no such role")) == "it does not let this user in (no such role)"
    assert str(Finding(Cause.LOGIN)) == "it does not let this user in"


def test_no_two_causes_are_told_in_the_same_words() -> None:
    assert len({str(cause) for cause in Cause.__members__.values()}) == len(Cause.__members__)
