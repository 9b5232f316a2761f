"""Tables for people: aligned columns, cut to a width, with nothing in them that a terminal would obey.

Commands pass the cells as they came from the service: names of a database and headers of a client may
contain anything. This module prints nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence

from realtime.logs.format import escape_controls

Cell = str | int | None
Painter = Callable[[str, str | None], str]

GAP = "  "
NOTHING = "-"
CUT = "…"
HEADING = "heading"  # the tint of headings
NARROWEST = 10  # a column that would have to be cut below this is left out
MOST_CHARACTERS = 1_000  # of a cell that may be cut: characters may take no column at all

# Characters that change the direction or the order of the text around them.
_DIRECTIONS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """Return a text with control characters and changes of direction as escapes."""
    return _DIRECTIONS.sub(lambda found: f"\\u{ord(found[0]):04x}", escape_controls(text))


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_width_of_character, text))


def _width_of_character(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """Return a text that takes at most `width` columns; the last of them says that something is missing."""
    if width_of(text) <= width:
        return text
    if text.isascii():
        return text[: width - 1] + CUT if width > 0 else ""
    taken, kept = 0, []
    for character in text:
        taken += _width_of_character(character)
        if taken > width - 1:
            break
        kept.append(character)
    return "".join(kept) + CUT if width > 0 else ""


def table(
    headings: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    width: int | None,
    colours: Mapping[str, Mapping[str, str]] | None = None,
    paint: Painter = lambda text, _: text,
) -> list[str]:
    """Return the lines of a table, with its headings; integers stand at the right of their column.

    The first column is shown whole, others are cut, and the last ones are left out where the width is too
    small. `colours` has, for a heading, the colour of each of its values; `paint` puts them on.
    """
    cells = [[_text_of(cell, width) for cell in row] for row in rows]
    widths = _fitted([max(map(width_of, column)) for column in zip(headings, *cells, strict=True)], width)
    numbers = [
        bool(rows) and all(isinstance(row[column], int) or row[column] is None for row in rows)
        for column in range(len(headings))
    ]
    by_column = [(colours or {}).get(heading, {}) for heading in headings]

    def line(texts: Sequence[str], tints: Sequence[str | None]) -> str:
        parts = []
        for text, size, right, tint in zip(texts, widths, numbers, tints, strict=False):
            shown = cut(text, size)
            space = " " * (size - width_of(shown))
            parts.append(space + paint(shown, tint) if right else paint(shown, tint) + space)
        return GAP.join(parts).rstrip()

    lines = [line([heading.upper() for heading in headings], [HEADING] * len(headings))]
    lines += [
        line(row, [tints.get(text) for text, tints in zip(row, by_column, strict=True)]) for row in cells
    ]
    if width is not None and (left_out := headings[len(widths) :]):
        lines.append(paint(cut(f"on a wider terminal also: {', '.join(left_out)}", width), HEADING))
    return lines


def _text_of(cell: Cell, width: int | None) -> str:
    text = NOTHING if cell is None else str(cell)
    most = None if width is None else max(width, MOST_CHARACTERS)
    return harmless(text if most is None or len(text) <= most else text[:most] + CUT)


def _fitted(widths: list[int], width: int | None) -> list[int]:
    """Return the widths of the columns that fit, from the left; the widest are cut down to NARROWEST."""
    if width is None:
        return widths
    first, *others = widths
    while others and first + sum(len(GAP) + min(one, NARROWEST) for one in others) > width:
        others.pop()
    excess = first + sum(len(GAP) + one for one in others) - width
    while excess > 0 and others:
        widest = others.index(max(others))
        others[widest] -= 1
        excess -= 1
    return [min(first, width), *others]
