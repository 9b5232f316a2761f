"""Sleep and wake: who writes rings only while the notifier sleeps.

Awake, the notifier holds lock K, or waits for it; the triggers try K, and ring (NOTIFY) only when they
get it. So under load almost no commit pays for a NOTIFY, and no writer ever waits for K.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from realtime import keys


class Doorbell:
    """One session that listens for rings and holds K. `rings` counts them."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._rung = asyncio.Event()  # a ring came since the last wait
        self._request: asyncio.Task[Any] | None = None  # for K; done when granted
        self.rings = 0

    def silence(self) -> None:
        """Ask for K and return at once: a request that waits silences the writers as well as K itself."""
        if self._request is None:
            self._request = asyncio.create_task(
                self._connection.execute(
                    "select pg_advisory_lock($1::bigint)", keys.AWAKE_LOCK, timeout=None
                ),
                name="silence the doorbell",
            )

    async def unsilence(self) -> None:
        """Give K back, or up; from here on every writer rings."""
        request, self._request = self._request, None
        if request is None:
            return
        await _give_up(request)
        # Also when the request was cancelled: K may have been granted in the same moment.
        await self._connection.execute("select pg_advisory_unlock_all()")

    async def wait(self, seconds: float) -> bool:
        """Wait for a ring, for so long at most; tell whether it came. Raises when the session is lost."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        self.check()
        rung = self._rung.is_set()
        self._rung.clear()
        return rung

    def check(self) -> None:
        """Raise ConnectionError when the session is lost: nobody would hear a ring."""
        if self._connection.is_closed():
            raise ConnectionError("the doorbell's session is closed")

    def startle(self, *_: object) -> None:
        """End the wait, so that whoever waits looks around: a session was lost."""
        self._rung.set()

    def _on_ring(self, *_: object) -> None:
        self.rings += 1
        self._rung.set()

    async def listen(self) -> None:
        self._connection.add_termination_listener(self.startle)
        await self._connection.add_listener(keys.DOORBELL, self._on_ring)

    async def hang_up(self) -> None:
        """Forget the request for K; the session is of no use any more, and K ends with it."""
        if self._request is not None:
            with contextlib.suppress(Exception):
                await _give_up(self._request)


@asynccontextmanager
async def listening(connection: Any) -> AsyncIterator[Doorbell]:
    """Listen on a session that serves nothing else; closes it."""
    doorbell = Doorbell(connection)
    try:
        await doorbell.listen()
        yield doorbell
    finally:
        # Ends the request for K as well, and with it what the server holds for us.
        connection.terminate()
        await doorbell.hang_up()


async def _give_up(request: asyncio.Task[Any]) -> None:
    """Cancel and see it end; raises what it failed with. A cancellation of the caller is not swallowed."""
    request.cancel()
    await asyncio.wait([request])
    if not request.cancelled():
        request.result()
