"""How fast one connection is read. Time comes in as an argument."""

from __future__ import annotations

from gateway.projects.token_bucket import BURST_SECONDS

PACE = 10  # times its rate of messages that a connection is read at most
SLOWEST_PACE = 1_000.0  # frames a second, however low the rate of messages is
LARGEST_AS_FRAMES = 5  # frames that the bytes of a largest message count as, so that twice its rate is read
PACE_STEP = 32  # frames that may be read when reading goes on


class Pace:
    """How fast a connection is read at most, whatever becomes of it; the rest waits in the network.

    A client within its rate is never slowed down: messages over the rate are dropped, as promised, up to ten
    times the rate. What comes faster still costs this node nothing.
    """

    def __init__(self, messages_per_second: float, max_message_bytes: int, now: float) -> None:
        self._rate = max(SLOWEST_PACE, PACE * messages_per_second)
        self._burst = BURST_SECONDS * self._rate
        self._frames_a_byte = LARGEST_AS_FRAMES / max_message_bytes
        self._room = self._burst  # in frames; below 0 after a portion that was larger than it
        self._at = now

    def seconds_to_wait(self, now: float) -> float:
        """How long nothing may be read from now on; 0 if something may."""
        self._room = min(self._burst, self._room + max(0.0, now - self._at) * self._rate)
        self._at = now
        return 0.0 if self._room > 0 else (PACE_STEP - self._room) / self._rate

    def spend(self, frames: int, size: int) -> None:
        """Count what was read."""
        self._room -= frames + size * self._frames_a_byte
