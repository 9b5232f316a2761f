"""Returns memory to the system: glibc keeps freed memory that lies between two blocks in use.

The memory guard reports how much is held at each check. On systems without glibc nothing is called.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress

FREED_BYTES = 8 * 1024 * 1024  # freed since the last trim; less is not worth the time
# A trim takes one millisecond for each three megabytes, and the node does nothing else meanwhile.
BETWEEN_SECONDS = 5.0


def find_trim() -> Callable[[], None]:
    """Return a function that returns all unused memory to the system."""
    with suppress(OSError, AttributeError):
        malloc_trim = ctypes.CDLL(None).malloc_trim
        return lambda: malloc_trim(0)
    return lambda: None


class Trimmer:
    """Returns memory to the system some time after much of it was freed."""

    def __init__(self, trim: Callable[[], None]) -> None:
        self._trim = trim
        self._most = 0  # most bytes held at one check since the last trim
        self._next_at = 0.0  # the earliest time of the next trim

    def look(self, held_bytes: int, now: float) -> None:
        self._most = max(self._most, held_bytes)
        if self._most - held_bytes > FREED_BYTES and now >= self._next_at:
            self._most, self._next_at = held_bytes, now + BETWEEN_SECONDS
            self._trim()
