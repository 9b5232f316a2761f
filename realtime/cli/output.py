"""What commands print for people: lines, colours on a terminal alone, and no control character of others.

Commands take the width and the colours from here; `realtime.cli.columns` makes tables. What programs read is
printed by `print_answer`, unchanged in a pipe.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable

import click

from realtime.cli.columns import HEADING, harmless


def is_terminal() -> bool:
    return sys.stdout.isatty()


def has_colour() -> bool:
    """Whether to print in colour: on a terminal that has colours, unless NO_COLOR says otherwise."""
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str | None = None, *, bold: bool = False, dim: bool = False) -> str:
    """Return a text in a colour where colours are wanted, else the text."""
    if not has_colour() or not (colour or bold or dim):
        return text
    return click.style(text, fg=colour, bold=bold or None, dim=dim or None)


def tinted(text: str, tint: str | None) -> str:
    """Paint a cell of a table: in a colour, or as a heading."""
    return paint(text, dim=True) if tint in (HEADING, "dim") else paint(text, tint)


def terminal_width() -> int | None:
    """Return the columns of the terminal; None where nothing has to be cut, as in a pipe."""
    return shutil.get_terminal_size().columns if is_terminal() else None


def print_lines(lines: Iterable[str]) -> None:
    """Print lines for people; a character that the output's encoding has not is printed as an escape."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    for line in lines:
        print(line.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()


def print_answer(answer: bytes) -> None:
    """Print the service's answer, which is JSON, as one line for programs; on a terminal with escapes."""
    text = answer.rstrip()
    if is_terminal():
        text = harmless(text.decode(errors="replace")).encode()
    sys.stdout.buffer.write(text + b"\n")
    sys.stdout.buffer.flush()
