"""An event of which a process has thousands: while nobody waits for it, it holds no queue of waiters."""

from __future__ import annotations

import asyncio


class Flag:
    """As `asyncio.Event`, at a tenth of the memory."""

    __slots__ = ("_event", "_is_set")

    def __init__(self, is_set: bool = False) -> None:
        self._is_set = is_set
        self._event: asyncio.Event | None = None  # while somebody waits

    def __repr__(self) -> str:
        return f"<Flag {'set' if self._is_set else 'not set'}>"

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        """Set the flag, and wake all who wait, even if it is cleared at once."""
        self._is_set = True
        event, self._event = self._event, None
        if event is not None:
            event.set()

    def clear(self) -> None:
        self._is_set = False

    async def wait(self) -> None:
        """Wait until the flag is set."""
        if not self._is_set:
            event = self._event = self._event or asyncio.Event()
            await event.wait()
