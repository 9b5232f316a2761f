"""When commands print in colour, and what they print where the output has no such character."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout

import pytest

from realtime.cli import output


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return Terminal(io.BytesIO(), encoding="ascii")


def test_a_terminal_gets_colours(terminal: Terminal) -> None:
    with redirect_stdout(terminal):
        assert output.paint("x", "red") == "\x1b[31mx\x1b[0m"
        assert output.tinted("x", "heading") == "\x1b[2mx\x1b[0m"
        assert output.paint("x") == "x"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_who_wants_no_colours_gets_none(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with redirect_stdout(terminal):
        assert output.paint("x", "red", bold=True) == "x"


def test_a_pipe_gets_neither_colours_nor_a_width() -> None:
    with redirect_stdout(io.StringIO()):
        assert output.paint("x", "red") == "x"
        assert output.terminal_width() is None


def test_a_character_that_the_output_has_not_is_an_escape(terminal: Terminal) -> None:
    with redirect_stdout(terminal):
        output.print_lines(["Zoë", "…"])
    assert printed(terminal) == b"Zo\\xeb\n\\u2026\n"


def test_an_answer_is_printed_as_it_came(terminal: Terminal) -> None:
    with redirect_stdout(terminal):
        output.print_answer(b'{"lag_seconds":0.10000000000000000001}\n\n')
    assert printed(terminal) == b'{"lag_seconds":0.10000000000000000001}\n'


def test_an_answer_has_no_control_on_a_terminal_and_means_the_same(terminal: Terminal) -> None:
    answer = '{"table_name":"R\x9b2J\x7f\u202eé"}'.encode()
    with redirect_stdout(terminal):
        output.print_answer(answer)
    shown = printed(terminal)
    assert shown == '{"table_name":"R\\u009b2J\\u007f\\u202eé"}\n'.encode()
    assert json.loads(shown) == json.loads(answer)
    with redirect_stdout(io.TextIOWrapper(io.BytesIO())) as pipe:
        output.print_answer(answer)
    assert printed(pipe) == answer + b"\n"


def printed(terminal: io.TextIOWrapper) -> bytes:
    buffer = terminal.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue()
