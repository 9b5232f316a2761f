"""Gives memory back to the system: glibc keeps what was freed between two blocks that are in use.

The keeper tells how much is held at each look. Elsewhere than on glibc there is nothing to call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress

FREED_BYTES = 8 * 1024 * 1024  # since memory was given back; less is not worth the while
# Giving back takes a millisecond for each three megabytes, in which the node does nothing else.
BETWEEN_SECONDS = 5.0


def find_trim() -> Callable[[], None]:
    """Return what gives the system all memory that nobody uses."""
    with suppress(OSError, AttributeError):
        malloc_trim = ctypes.CDLL(None).malloc_trim
        return lambda: malloc_trim(0)
    return lambda: None


class Trimmer:
    """Gives memory back some time after much of it became free."""

    def __init__(self, trim: Callable[[], None]) -> None:
        self._trim = trim
        self._most = 0  # bytes held at one look since memory was given back
        self._next_at = 0.0  # the earliest time at which it is given back again

    def look(self, held_bytes: int, now: float) -> None:
        self._most = max(self._most, held_bytes)
        if self._most - held_bytes > FREED_BYTES and now >= self._next_at:
            self._most, self._next_at = held_bytes, now + BETWEEN_SECONDS
            self._trim()
