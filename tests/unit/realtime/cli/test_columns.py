"""Tables for people: aligned, cut, and harmless whatever a database or a client calls its things."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.cli.columns import cut, harmless, table, width_of


def test_columns_are_aligned_and_integers_stand_at_the_right() -> None:
    assert table(("name", "n"), [("users", 7), ("o", 1234), ("x", None)], None) == [
        "NAME      N",
        "users     7",
        "o      1234",
        "x         -",
    ]


def test_wide_characters_take_two_columns() -> None:
    lines = table(("name", "x"), [("日本", "a"), ("e\u0301", "b")], None)
    assert lines[1:] == ["日本  a", "e\u0301     b"]
    assert {width_of(line[:-1]) for line in lines[1:]} == {6}


@pytest.mark.parametrize(
    "text", ["a\x1b[2Jb", "a\nb", "\x9b31m", "\u2028", "\u202etxt", "\u2066x", "\x00\x7f"]
)
def test_a_cell_has_nothing_that_a_terminal_obeys(text: str) -> None:
    (_, line) = table(("name",), [(text,)], None)
    assert line.isprintable()
    assert line == harmless(text)


@pytest.mark.parametrize("text", ["e" + "\u0301" * 100_000, "\u200b" * 100_000, "x" * 100_000])
def test_a_cell_that_takes_no_room_is_cut_all_the_same(text: str) -> None:
    (_, line) = table(("name", "state"), [("alice", text)], 80)
    assert len(line) < 2_000
    assert line.endswith("…")
    assert len(table(("name", "state"), [("alice", text)], None)[1]) > 100_000


def test_what_is_cut_says_so() -> None:
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abcde…"
    assert cut("日本語", 4) == "日…"
    assert cut("x", 0) == ""


@given(
    st.lists(st.tuples(st.text(), st.text(max_size=5), st.integers()), max_size=5),
    st.integers(0, 60),
)
def test_no_line_is_wider_than_the_terminal(rows: list[tuple[str, str, int]], width: int) -> None:
    lines = table(("a long heading", "b", "count"), rows, width)
    assert len(rows) + 1 <= len(lines) <= len(rows) + 2
    assert all(width_of(line) <= width for line in lines)
    assert all("\x1b" not in line and "\n" not in line for line in lines)


def test_a_narrow_terminal_gets_the_first_column_whole_and_others_cut() -> None:
    row = ("an-id-that-is-needed", "x" * 30, 1)
    assert table(("id", "what", "count"), [row], 45)[1:] == ["an-id-that-is-needed  xxxxxxxxxxxxxxx…      1"]


def test_columns_that_do_not_fit_are_named() -> None:
    row = ("an-id-that-is-needed", "x" * 30, 12345)
    assert table(("id", "what", "count"), [row], 36) == [
        "ID                    WHAT",
        "an-id-that-is-needed  xxxxxxxxxxxxx…",
        "on a wider terminal also: count",
    ]


def test_colours_are_put_on_after_the_text_is_cut_and_aligned() -> None:
    painted: list[tuple[str, str | None]] = []

    def paint(text: str, tint: str | None) -> str:
        painted.append((text, tint))
        return f"<{text}>" if tint == "green" else text

    lines = table(("t", "state"), [("a", "on"), ("b", "off")], None, {"state": {"on": "green"}}, paint)
    assert lines[1:] == ["a  <on>", "b  off"]
    assert ("on", "green") in painted
