"""How fast one connection is read. Time comes in as an argument."""

from __future__ import annotations

from gateway.projects.token_bucket import BURST_SECONDS

PACE = 10  # a connection is read at no more than so many times its message rate
SLOWEST_PACE = 1_000.0  # frames a second, however low the message rate is
LARGEST_AS_FRAMES = 5  # frames that the bytes of a largest message count as: twice the message rate is read
PACE_STEP = 32  # frames that may be read when reading resumes
STRANGER_PACE = 32.0  # frames that are read from a refused client, at once and each second,
STRANGER_BYTES = 32_768  # or so many bytes


class Pace:
    """The highest pace at which a connection is read; bytes beyond it wait in the network.

    A client within its rate is never slowed down. Messages over the rate are read and dropped, as documented,
    up to ten times the rate. Messages beyond that cost this node nothing.
    """

    __slots__ = ("_at", "_burst", "_frames_a_byte", "_rate", "_room")

    def __init__(self, rate: float, burst: float, frames_a_byte: float, now: float) -> None:
        self._rate = rate  # frames a second
        self._burst = burst  # frames that may come at once
        self._frames_a_byte = frames_a_byte
        self._room = burst  # in frames; below 0 after more was read than there was room for
        self._at = now

    @classmethod
    def of_client(cls, messages_per_second: float, max_message_bytes: int, now: float) -> Pace:
        """Return the pace of an admitted client."""
        rate = max(SLOWEST_PACE, PACE * messages_per_second)
        return cls(rate, BURST_SECONDS * rate, LARGEST_AS_FRAMES / max_message_bytes, now)

    @classmethod
    def of_stranger(cls, now: float) -> Pace:
        """Return the pace of a refused client: enough for a close frame behind a few other frames."""
        return cls(STRANGER_PACE, STRANGER_PACE, STRANGER_PACE / STRANGER_BYTES, now)

    def seconds_to_wait(self, now: float) -> float:
        """Return how many seconds nothing may be read from now on; 0 if reading may go on."""
        self._room = min(self._burst, self._room + max(0.0, now - self._at) * self._rate)
        self._at = now
        return 0.0 if self._room > 0 else (PACE_STEP - self._room) / self._rate

    def spend(self, frames: int, size: int) -> None:
        """Count what was read."""
        self._room -= frames + size * self._frames_a_byte
