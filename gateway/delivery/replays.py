"""The running replays of one client, one task a channel.

A connection owns a `Replays`, and ends a replay when the client unsubscribes or subscribes again, and all
replays when the connection ends. An unexpected error in a replay closes the connection, since the client
would miss messages without notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from gateway.delivery.replay import Replay

# Runs a replay to its end, and then adds the client to the hub.
Carry = Callable[[Replay], Coroutine[Any, Any, None]]


class Replays:
    """Replays of one client, by channel."""

    __slots__ = ("_carry", "_ending", "_on_failure", "_replays", "_tasks")

    def __init__(self, carry: Carry, on_failure: Callable[[Exception], None]) -> None:
        self._carry = carry
        self._on_failure = on_failure
        self._tasks: dict[str, asyncio.Task[None]] = {}  # by channel name, until done
        self._replays: dict[str, Replay] = {}  # by channel name, until done
        self._ending: dict[asyncio.Task[None], None] = {}  # cancelled, still running; a set is larger

    def __repr__(self) -> str:
        return f"<Replays {list(self._replays.values())}>"

    def pending_bytes(self) -> int:
        return sum(replay.pending_bytes for replay in self._replays.values()) if self._replays else 0

    def held_bytes(self) -> int:
        return sum(replay.held_bytes for replay in self._replays.values()) if self._replays else 0

    def start(self, replay: Replay) -> None:
        """Run a replay in a task; the channel must have no other replay."""
        channel = replay.joining.channel.name
        self._replays[channel] = replay
        task = self._tasks[channel] = asyncio.create_task(self._carry(replay), name=f"replay {channel}")
        task.add_done_callback(lambda task: self._ended(channel, task))

    def end(self, channel: str) -> None:
        """Cancel the replay of a channel; it sends nothing from now on."""
        self._replays.pop(channel, None)
        if (task := self._tasks.pop(channel, None)) is not None:
            task.cancel()
            self._ending[task] = None

    def end_all(self) -> None:
        for channel in list(self._tasks):
            self.end(channel)

    async def close(self) -> None:
        """Cancel all replays, and wait until they have ended."""
        self.end_all()
        if self._ending:
            await asyncio.wait(self._ending)

    def _ended(self, channel: str, task: asyncio.Task[None]) -> None:
        self._ending.pop(task, None)
        if self._tasks.get(channel) is task:
            del self._tasks[channel], self._replays[channel]
        if task.cancelled():
            return
        if isinstance(error := task.exception(), Exception):
            self._on_failure(error)


async def _never(replay: Replay) -> None:
    raise AssertionError("clients share these replays, and start none here")


NO_REPLAYS = Replays(_never, lambda _: None)  # of all clients that never had one
