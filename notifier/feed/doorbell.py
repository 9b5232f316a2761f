"""The doorbell of the outbox: writers ring it (NOTIFY) unless the notifier has silenced it.

To silence it, the notifier stores a time up to which no writer needs to ring; the triggers read that time
and ring only after it. So under load almost no commit pays for a NOTIFY, and no side waits for the other.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from notifier.feed.timings import DEFAULTS, FeedTimings
from notifier.sessions import query
from realtime import names
from realtime.postgres.session import OwnSession

_SILENCE = query("silence")
_RING = "select setval('realtime.silent_until', 1)"
_HAS_ROOM = "select pg_notification_queue_usage() < 0.5"  # as in realtime.ring_v1


class Doorbell:
    """One session that listens for rings, and silences them with the leader's lock; `rings` counts them."""

    def __init__(self, connection: OwnSession, lock: int, timings: FeedTimings = DEFAULTS) -> None:
        self._connection = connection
        self._lock = lock
        self._timings = timings
        self.is_rung = False  # a ring came since the last wait
        self._waiter: asyncio.Future[None] | None = None  # of the present wait
        self._silence: asyncio.Task[None] | None = None  # keeps writers from ringing; None: they ring
        self._enough = asyncio.Event()  # ends the silence
        self.rings = 0

    @property
    def is_silent(self) -> bool:
        """Whether writers are kept from ringing."""
        return self._silence is not None

    def silence(self) -> None:
        """Start a task that keeps writers from ringing; return at once, before the silence begins."""
        if self._silence is None:
            self._enough.clear()
            self._silence = asyncio.create_task(self._keep_silent(), name="silence the doorbell")

    async def unsilence(self) -> None:
        """End the silence: every writer rings from now on."""
        silence, self._silence = self._silence, None
        if silence is not None:
            self._enough.set()
            await silence
            await self._connection.execute(_RING)

    async def _keep_silent(self) -> None:
        while not self._enough.is_set():
            await self._connection.execute(_SILENCE, self._lock, self._timings.silence_seconds)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timings.renew_seconds):
                    await self._enough.wait()

    async def can_be_rung(self) -> bool:
        """Tell whether the queue has room for a ring: all databases share it, and any session can fill it."""
        return bool(await self._connection.fetchval(_HAS_ROOM))

    async def wait(self, seconds: float) -> bool:
        """Wait for a ring, at most `seconds`; tell whether one came. Raises when the session is lost."""
        if not self.is_rung:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(seconds, self._end_wait)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        self.check()
        rung, self.is_rung = self.is_rung, False
        return rung

    def _end_wait(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def check(self) -> None:
        """Raise ConnectionError if the session is lost and hears no rings, or what ended the silence."""
        if self._connection.is_closed():
            raise ConnectionError("the doorbell's session is closed")
        if self._silence is not None and self._silence.done():
            self._silence.result()

    def startle(self, *_: object) -> None:
        """End the current wait, so that the feed checks its state, for example after a session was lost."""
        self.is_rung = True
        self._end_wait()

    def _on_ring(self, *_: object) -> None:
        self.rings += 1
        self.startle()

    async def listen(self) -> None:
        self._connection.add_termination_listener(self.startle)
        # A silence that a crash of the server undoes has no meaning any more.
        await self._connection.execute("set synchronous_commit = off")
        await self._connection.add_listener(names.DOORBELL, self._on_ring)

    async def hang_up(self) -> None:
        """Cancel the silence after the session has ended."""
        if self._silence is not None:
            self._silence.cancel()
            await asyncio.gather(self._silence, return_exceptions=True)


@asynccontextmanager
async def listening(
    connection: OwnSession, lock: int, timings: FeedTimings = DEFAULTS
) -> AsyncIterator[Doorbell]:
    """Listen on a session that serves nothing else; close the session at the end."""
    doorbell = Doorbell(connection, lock, timings)
    try:
        await doorbell.listen()
        yield doorbell
    finally:
        connection.terminate()
        await doorbell.hang_up()
