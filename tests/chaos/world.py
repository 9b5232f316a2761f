"""What all parts of the load know of the run: whether it is calm, and whether the database is whole.

The load sets it; writers and clients read it and wait for it. It does nothing by itself.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress


class World:
    """The state of the run."""

    def __init__(self) -> None:
        self.calm = asyncio.Event()  # writers are to end, clients to come and stay
        self.disturbed = asyncio.Event()  # the database is being restored: nobody touches it
        self.whole = asyncio.Event()  # the opposite
        self.whole.set()
        self.restores = 0  # how many restores began
        self.restored_at = float("-inf")  # loop time

    def __repr__(self) -> str:
        return f"<World {'calm' if self.calm.is_set() else 'wild'}, {self.restores} restores>"

    def disturb(self) -> None:
        self.restores += 1
        self.whole.clear()
        self.disturbed.set()

    def restore(self) -> None:
        self.restored_at = asyncio.get_running_loop().time()
        self.disturbed.clear()
        self.whole.set()

    async def pause(self, seconds: float) -> None:
        """Wait for this time, or less if calm begins."""
        await _elapse(self.calm, seconds)

    async def stay_open(self, seconds: float) -> bool:
        """Wait for this time; return False at once if a restore begins."""
        await _elapse(self.disturbed, seconds)
        return self.whole.is_set()


async def _elapse(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
