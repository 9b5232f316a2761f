"""What `realtime listen` reads of a message, and what it prints on a terminal and into a pipe."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import pytest

from realtime.cli.listen import ListenRefused, print_event, read_message

# More digits than Python makes a number of, and a control character that some terminals obey.
ROW = '{"exact": 0.1000000000000000000001,"large":' + "9" * 5000 + ',"name":"R\x9b2J\x7fé\u202e"}'
CHANGE = (
    '{"type":"realtime","channel":"table:a","schema":"public","table":"a","event":"INSERT",'
    f'"data":{ROW},"old":null,"commit_timestamp":"2026-01-31T12:00:00Z","id":"e-1"}}'
)
BROADCAST = '{"type":"broadcast","channel":"room:a","payload":{"n":1e999,"t":"\x9b\u202e"},"id":"e-2"}'


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(text: str, output: io.StringIO) -> str:
    """What is printed of a message."""
    with redirect_stdout(output):
        print_event(*read_message(text), text)
    return output.getvalue()


def test_a_row_is_not_parsed() -> None:
    message, row = read_message(CHANGE)
    assert bytes(row).decode() == ROW
    assert "data" not in message
    assert (message["id"], message["event"]) == ("e-1", "INSERT")


def test_a_number_in_a_payload_that_is_too_large_does_no_harm() -> None:
    message, row = read_message(BROADCAST)
    assert message == {"type": "broadcast", "channel": "room:a", "id": "e-2"}
    assert bytes(row) == b"null"


@pytest.mark.parametrize("text", [CHANGE, BROADCAST])
def test_a_pipe_gets_the_text_that_came(text: str) -> None:
    assert shown(text, io.StringIO()) == text + "\n"


def test_a_terminal_gets_every_digit_of_a_row() -> None:
    line = shown(CHANGE, Terminal())
    assert "public.a" in line
    assert '{"exact":0.1000000000000000000001,"large":9' in line
    assert "9" * 5000 in line


@pytest.mark.parametrize("text", [CHANGE, BROADCAST])
def test_a_terminal_gets_no_control_and_no_change_of_direction_of_a_client(text: str) -> None:
    line = shown(text, Terminal())
    assert "\x9b" not in line
    assert "\x7f" not in line
    assert "\u202e" not in line
    assert r"\u009b" in line
    assert r"\u202e" in line


def test_a_refusal_is_a_line_without_controls() -> None:
    assert str(ListenRefused("forbidden", "no\n\x1b[2J\u202e")) == r"forbidden: no\u000a\u001b[2J\u202e"
