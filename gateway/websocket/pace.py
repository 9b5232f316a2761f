"""How fast one connection is read. Time comes in as an argument."""

from __future__ import annotations

from gateway.projects.token_bucket import BURST_SECONDS

PACE = 10  # times its rate of messages that a connection is read at most
SLOWEST_PACE = 1_000.0  # frames a second, however low the rate of messages is
LARGEST_AS_FRAMES = 5  # frames that the bytes of a largest message count as, so that twice its rate is read
PACE_STEP = 32  # frames that may be read when reading goes on
STRANGER_PACE = 32.0  # frames that one which was refused is read at once and a second,
STRANGER_BYTES = 32_768  # or so many bytes


class Pace:
    """How fast a connection is read at most, whatever becomes of it; the rest waits in the network.

    A client within its rate is never slowed down: messages over the rate are dropped, as promised, up to ten
    times the rate. What comes faster still costs this node nothing.
    """

    def __init__(self, rate: float, burst: float, frames_a_byte: float, now: float) -> None:
        self._rate = rate  # frames a second
        self._burst = burst  # frames that may come at once
        self._frames_a_byte = frames_a_byte
        self._room = burst  # in frames; below 0 after a portion that was larger than it
        self._at = now

    @classmethod
    def of_client(cls, messages_per_second: float, max_message_bytes: int, now: float) -> Pace:
        """Return the pace of a client that was let in."""
        rate = max(SLOWEST_PACE, PACE * messages_per_second)
        return cls(rate, BURST_SECONDS * rate, LARGEST_AS_FRAMES / max_message_bytes, now)

    @classmethod
    def of_stranger(cls, now: float) -> Pace:
        """Return the pace of one that was refused: enough for a close frame behind a few others."""
        return cls(STRANGER_PACE, STRANGER_PACE, STRANGER_PACE / STRANGER_BYTES, now)

    def seconds_to_wait(self, now: float) -> float:
        """How long nothing may be read from now on; 0 if something may."""
        self._room = min(self._burst, self._room + max(0.0, now - self._at) * self._rate)
        self._at = now
        return 0.0 if self._room > 0 else (PACE_STEP - self._room) / self._rate

    def spend(self, frames: int, size: int) -> None:
        """Count what was read."""
        self._room -= frames + size * self._frames_a_byte
