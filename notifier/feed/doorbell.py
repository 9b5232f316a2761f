"""Sleep and wake: who writes rings only while the notifier sleeps.

Awake, the notifier says up to when no writer need ring; the triggers look, and ring (NOTIFY) after that.
So under load almost no commit pays for a NOTIFY, and nobody waits for anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from notifier.sessions import query
from realtime import names
from realtime.postgres.session import OwnSession

SILENCE_SECONDS = 5  # without a word of a notifier that is awake, after which writers ring
RENEW_SECONDS = 2.0

_SILENCE = query("silence")
_RING = "select setval('realtime.silent_until', 1)"
_HAS_ROOM = "select pg_notification_queue_usage() < 0.5"  # as in realtime.ring_v1


class Doorbell:
    """One session that listens for rings, and may silence them by the leader's lock. `rings` counts them."""

    def __init__(self, connection: OwnSession, lock: int) -> None:
        self._connection = connection
        self._lock = lock
        self._rung = asyncio.Event()  # a ring came since the last wait
        self._silence: asyncio.Task[None] | None = None  # keeps the writers from ringing; None: they ring
        self._enough = asyncio.Event()  # of the silence
        self.rings = 0

    def silence(self) -> None:
        """Keep the writers from ringing from soon on, whatever the caller does meanwhile; returns at once."""
        if self._silence is None:
            self._enough.clear()
            self._silence = asyncio.create_task(self._keep_silent(), name="silence the doorbell")

    async def unsilence(self) -> None:
        """From here on every writer rings."""
        silence, self._silence = self._silence, None
        if silence is not None:
            self._enough.set()
            await silence
            await self._connection.execute(_RING)

    async def _keep_silent(self) -> None:
        while not self._enough.is_set():
            await self._connection.execute(_SILENCE, self._lock, SILENCE_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RENEW_SECONDS):
                    await self._enough.wait()

    async def can_be_rung(self) -> bool:
        """Whether there is room for a ring: the queue is that of all databases, and anybody can fill it."""
        return bool(await self._connection.fetchval(_HAS_ROOM))

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
        """Raise ConnectionError when the session is lost, or what ended the silence: rings are not heard."""
        if self._connection.is_closed():
            raise ConnectionError("the doorbell's session is closed")
        if self._silence is not None and self._silence.done():
            self._silence.result()

    def startle(self, *_: object) -> None:
        """End the wait, so that whoever waits looks around: a session was lost."""
        self._rung.set()

    def _on_ring(self, *_: object) -> None:
        self.rings += 1
        self._rung.set()

    async def listen(self) -> None:
        self._connection.add_termination_listener(self.startle)
        # Silence that a crash undoes has no meaning any more.
        await self._connection.execute("set synchronous_commit = off")
        await self._connection.add_listener(names.DOORBELL, self._on_ring)

    async def hang_up(self) -> None:
        """Forget what was asked for: the session has ended."""
        if self._silence is not None:
            self._silence.cancel()
            await asyncio.gather(self._silence, return_exceptions=True)


@asynccontextmanager
async def listening(connection: OwnSession, lock: int) -> AsyncIterator[Doorbell]:
    """Listen on a session that serves nothing else; closes it."""
    doorbell = Doorbell(connection, lock)
    try:
        await doorbell.listen()
        yield doorbell
    finally:
        connection.terminate()
        await doorbell.hang_up()
