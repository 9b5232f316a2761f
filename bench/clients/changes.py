"""Counts the changes that come on one connection."""

from __future__ import annotations

MARK = b'"event":"INSERT"'  # once in each change


class Counter:
    """Counts in pieces of a stream, also a change whose mark lies across two of them."""

    def __init__(self) -> None:
        self._rest = b""  # what may be the beginning of a mark

    def count(self, came: bytes) -> int:
        """Take in the next piece; return how many changes it is."""
        data = self._rest + came
        found = data.count(MARK)
        end = data.rfind(MARK) + len(MARK) if found else 0
        self._rest = data[max(end, len(data) - len(MARK) + 1) :]
        return found
